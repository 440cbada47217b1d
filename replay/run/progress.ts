/** Where a run stands, for people and machines. */
export interface Progress {
  readonly total: number;
  readonly ok: number;
  readonly failed: number;
  readonly skipped: number;
  /** Pieces a second since this process took the run. */
  readonly perSecond: number;
  readonly lagMs: number;
  /** Why it waits; null while it goes on. */
  readonly throttled: string | null;
  /** Milliseconds until it is done at this rate; null when that cannot be told. */
  readonly etaMs: number | null;
}

/** What is left at the rate so far. Nothing done yet, or waiting: nobody can tell. */
export function etaMs({ left, perSecond }: { readonly left: number; readonly perSecond: number }): number | null {
  if (left === 0) return 0;
  return perSecond > 0 ? Math.round((left / perSecond) * 1000) : null;
}

/** `183/407 45.0 % · 98/s · ok 183 failed 0 · lag age 2 s · throttled: restart cap 3/h · ETA 3m48s`. Always one line. */
export function progressLine({ total, ok, failed, skipped, perSecond, lagMs, throttled, etaMs: eta }: Progress): string {
  const done = ok + failed + skipped;
  const share = total === 0 ? 100 : (done / total) * 100;
  return [
    `${done}/${total} ${share.toFixed(1)} %`,
    `${perSecond >= 10 || perSecond === 0 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`,
    `ok ${ok} failed ${failed}${skipped > 0 ? ` skipped ${skipped}` : ''}`,
    `lag age ${Math.round(lagMs / 1000)} s`,
    ...(throttled === null ? [] : [`throttled: ${throttled}`]),
    `ETA ${eta === null ? 'unknown' : duration(eta)}`,
  ].join(' · ');
}

/** `48s`, `3m48s`, `2h05m`. */
function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  return `${Math.floor(seconds / 3600)}h${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
}
