import type { HttpDeps } from '../../http/deps.ts';
import { unusedBox } from './unused-box.ts';
import { openDatabase } from '../../process/database.ts';

/** What routes get that ask nobody anything. */
export function unusedDeps(): HttpDeps {
  const unused = openDatabase('postgres://127.0.0.1:1/none');
  return {
    database: unused, controlPlane: unused, billing: unused, catalogue: { findItem: async () => await Promise.resolve(undefined) },
    box: unusedBox(unused),
    metrics: { contentType: 'text/plain', text: async () => await Promise.resolve('') }, checks: {},
  };
}
