import type { Database } from '../../process/database.ts';
import type { Standing } from './identity.ts';

/** What a backfill works with. */
export interface BackfillDeps {
  /** The pipeline's: the catalogue, the runs, what was delivered. */
  readonly database: Database;
  /** The control plane's: the records. */
  readonly controlPlane: Database;
  /** What stands at these paths of a workspace's volume now. @throws Failure subject when the volume cannot be read */
  readonly readDigests: (workspaceId: string, paths: readonly string[]) => Promise<ReadonlyMap<string, Standing>>;
  readonly thirdPartySellers: boolean;
}
