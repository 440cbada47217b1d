import type { Code } from '../../schemas/codes.ts';

/** As a run stores it (replay/run/runs.ts). */
type ItemState = 'planned' | 'ok' | 'already' | 'skipped' | 'failed';

/** One row of a count over the items of a run. */
export interface CoverageRow {
  readonly state: ItemState;
  readonly code: Code | null;
  readonly count: number;
}

/** What a backfill did and did not do (D7). */
export interface Coverage {
  readonly total: number;
  readonly tagged: number;
  readonly alreadySet: number;
  /** Not looked at yet. */
  readonly left: number;
  readonly skipped: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
  /** Of the tagged: their AssetsReady was said for the planned release. */
  readonly ready: number;
}

/** Undefined: the counts do not add up, which is an error and no report. */
export function coverageOf(rows: readonly CoverageRow[], total: number, ready: number): Coverage | undefined {
  const sum = (state: ItemState): number => rows.filter((row) => row.state === state).reduce((all, row) => all + row.count, 0);
  const byCode = (state: ItemState): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const row of rows) if (row.state === state) counts[row.code ?? 'none'] = (counts[row.code ?? 'none'] ?? 0) + row.count;
    return counts;
  };
  const coverage = {
    total, tagged: sum('ok'), alreadySet: sum('already'), left: sum('planned'), skipped: byCode('skipped'), failed: byCode('failed'), ready,
  };
  const addsUp = coverage.tagged + coverage.alreadySet + coverage.left + sum('skipped') + sum('failed') === total && ready <= coverage.tagged;
  return addsUp ? coverage : undefined;
}
