import type { Code } from '../../schemas/codes.ts';
import { arrayOf, jsonLinesOf } from '../../process/sql-columns.ts';
import type { RunControl } from './drive-run.ts';
import type { ItemState } from './runs.ts';

/** What came of one item. */
export interface ItemEnd {
  readonly state: Exclude<ItemState, 'planned'>;
  readonly code?: Code | null;
  readonly result?: Readonly<Record<string, unknown>>;
}

/** Items whose end is stored in one transaction; what a crash forgets is read back where it was written. */
const pageMax = 25;
const pageMs = 500;

/** Gathers what came of items and stores it page by page, under the lease of the run. */
export class ItemPage {
  readonly #control: RunControl;
  #ends: (ItemEnd & { readonly line: number })[] = [];
  #since = performance.now();

  constructor(control: RunControl) {
    this.#control = control;
  }

  async add(line: number, end: ItemEnd): Promise<void> {
    this.#ends.push({ line, ...end });
    if (this.#ends.length >= pageMax || performance.now() - this.#since >= pageMs) await this.flush();
  }

  async flush(): Promise<void> {
    const ends = this.#ends;
    this.#ends = [];
    this.#since = performance.now();
    if (ends.length === 0) return;
    await this.#control.commit(async (trx) => {
      const { rows } = await trx.raw<{ rows: { state: ItemState }[] }>(
        `update run_items i set state = done.state, code = done.code, result = i.result || done.result
         from unnest(?::integer[], ?::text[], ?::text[], string_to_array(?, E'\\n')::jsonb[]) as done(line, state, code, result)
         where i.run_id = ? and i.line = done.line and i.state = 'planned' returning i.state`,
        [
          arrayOf(ends.map(({ line }) => line)), arrayOf(ends.map(({ state }) => state)), arrayOf(ends.map(({ code }) => code ?? null)),
          jsonLinesOf(ends.map(({ result }) => result ?? {})), this.#control.lease.runId,
        ],
      );
      const count = (state: ItemState): number => rows.filter((row) => row.state === state).length;
      return { ok: count('ok'), failed: count('failed'), skipped: count('skipped') + count('already') };
    });
  }
}
