import type { FetchDeps } from '../delivery/box/fetches.ts';
import type { WantedDeps } from '../delivery/box/wanted.ts';
import type { Database } from '../process/database.ts';
import type { Metrics } from '../process/metrics.ts';
import type { CatalogueLookup } from '../producers/check-items.ts';

/** What the handlers of the routes work with. */
export interface HttpDeps {
  /** The pipeline's database. */
  readonly database: Database;
  /** The control plane's: its records are minted there and nowhere else. */
  readonly controlPlane: Database;
  /** Billing's: its lines are minted there and nowhere else. */
  readonly billing: Database;
  /** The allowlist, for what is written to the control plane (B1). */
  readonly catalogue: CatalogueLookup;
  readonly metrics: Pick<Metrics, 'contentType' | 'text'>;
  /** What the agents of workspaces are answered with. */
  readonly box: WantedDeps & FetchDeps;
  /** What `/readyz` asks, by the name that it shows. Each rejects when its part is not ready. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
}
