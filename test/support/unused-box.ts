import type { FetchDeps } from '../../delivery/box/fetches.ts';
import { PendingWatch } from '../../delivery/box/watch.ts';
import type { WantedDeps } from '../../delivery/box/wanted.ts';
import type { Database } from '../../process/database.ts';

/** For servers whose test calls no route of a box. */
export function unusedBox(database: Database): WantedDeps & FetchDeps {
  const refuse = async (): Promise<never> => await Promise.reject(new Error('no box here'));
  return {
    database, options: { thirdPartySellers: false, settleWindowMs: 0 }, watch: new PendingWatch(database),
    signer: { presignGet: refuse }, unwrapper: { unwrap: refuse }, wrapper: { wrap: refuse },
  };
}
