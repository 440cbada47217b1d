/** What a run is held to while it goes on; `set` changes each (D7). */
export interface Controls {
  /** Most pieces a second: workspaces, events or rows. */
  readonly rate: number;
  /** Live work may have waited at most so long, in seconds. */
  readonly lagSeconds: number;
  /** The databases may take at most so long to answer, in milliseconds. */
  readonly databaseMs: number;
  /** Online workspaces that the run may cause to restart, an hour. */
  readonly restartsPerHour: number;
}

export const defaultControls: Controls = { rate: 1_000, lagSeconds: 10, databaseMs: 250, restartsPerHour: 240 };

/** What was found at one moment. */
export interface Measured {
  /** Age of the oldest live work that waits: an unpublished event, an unread record, a due workspace. */
  readonly lagMs: number;
  readonly databaseMs: number;
  /** Restarts that the run caused within the last hour. */
  readonly restarts: number;
}

/** Why the run waits now, with the threshold; null: it may go on. Live traffic first, then the databases, then the cap. */
export function decideThrottle({ lagMs, databaseMs, restarts }: Measured, controls: Controls): string | null {
  if (lagMs > controls.lagSeconds * 1000) return `live lag ${Math.round(lagMs / 1000)} s > ${controls.lagSeconds} s`;
  if (databaseMs > controls.databaseMs) return `database ${Math.round(databaseMs)} ms > ${controls.databaseMs} ms`;
  if (restarts >= controls.restartsPerHour) return `restart cap ${controls.restartsPerHour}/h`;
  return null;
}

/** How long to wait before the next piece, in milliseconds, so that `done` pieces since `startedAt` keep the rate. */
export function paceMs({ done, startedAt, now }: { readonly done: number; readonly startedAt: number; readonly now: number }, rate: number): number {
  return Math.max(0, startedAt + (done / rate) * 1000 - now);
}
