import type { Code } from '../../schemas/codes.ts';
import type { Database } from '../../process/database.ts';
import { arrayOf, jsonLinesOf } from '../../process/sql-columns.ts';
import type { RunControl } from './drive-run.ts';
import { loadItems, type ItemState, type RunItem } from './runs.ts';

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
class ItemPage {
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

/** Deals with these items one after the other; each asks first whether the run may go on, and what was done is kept also when one fails. */
export async function endEach(control: RunControl, items: readonly RunItem[], end: (item: RunItem) => Promise<ItemEnd>): Promise<void> {
  const page = new ItemPage(control);
  try {
    for (const item of items) {
      await control.gate();
      await page.add(item.line, await end(item));
    }
  } finally {
    await page.flush();
  }
}

/** Items that are read at once, in number. */
const readMax = 500;

/** Deals with all that is still planned of a run. */
export async function endPlanned(database: Database, control: RunControl, end: (item: RunItem) => Promise<ItemEnd>): Promise<void> {
  for (;;) {
    const items = await loadItems(database, control.lease.runId, { state: 'planned', limit: readMax });
    if (items.length === 0) return;
    await endEach(control, items, end);
  }
}
