import { foldRecords, loadRecords } from '../../delivery/fold-records.ts';
import { recordOf, type RecordEvent } from '../../delivery/workspace-record.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { foldBatch, type BatchResult, type Folded, type Versioned } from '../../entitlements/decide.ts';
import { lineKeyOf, lineOf, pairKeyOf, type LineEvent } from '../../entitlements/line.ts';
import { loadLines } from '../../entitlements/sql.ts';
import type { Transaction } from '../../process/database.ts';
import type { RunCause } from '../../process/pending.ts';
import type { TypedEvent } from '../../schemas/topics.ts';
import type { ReplayTopic } from './replay-request.ts';

/** How the events of one topic are folded: by the handlers of live traffic, and by their rule alone for a plan (D1). */
export interface EventFold {
  /** Exactly what the consumer of the topic does with a batch. */
  apply(trx: Transaction, events: readonly TypedEvent[], run: RunCause): Promise<BatchResult>;
  /** What it would do, on top of what stands in the tables and of `changed`, which it adds to. Writes nothing. */
  decide(trx: Transaction, events: readonly TypedEvent[], changed: Map<string, Versioned>): Promise<readonly Folded<TypedEvent, Versioned>[]>;
}

/** The codec gives each topic only events of its own. */
export const eventFolds: Readonly<Record<ReplayTopic, EventFold>> = {
  'marketplace.entitlements': {
    apply: async (trx, events, run) => await applyEntitlementBatch(trx, events as readonly LineEvent[], run),
    decide: async (trx, events, changed) => {
      const lines = events as readonly LineEvent[];
      const pairs = new Map(lines.map(({ event }) => {
        const pair = { orgId: event.org_id, itemId: event.item_id };
        return [pairKeyOf(pair), pair];
      }));
      const held = new Map<string, Versioned>((await loadLines(trx, [...pairs.values()])).map((line) => [lineKeyOf(line), line]));
      return foldOver(held, changed, lines.map((event) => ({ event, key: lineKeyOf(lineOf(event)), state: lineOf(event) })));
    },
  },
  'controlplane.workspaces': {
    apply: async (trx, events, run) => await foldRecords(trx, events as readonly RecordEvent[], run),
    decide: async (trx, events, changed) => {
      const records = events as readonly RecordEvent[];
      const held = new Map<string, Versioned>(await loadRecords(trx, [...new Set(records.map(({ event }) => event.workspace_id))]));
      return foldOver(held, changed, records.map((event) => ({ event, key: event.event.workspace_id, state: recordOf(event) })));
    },
  },
};

interface Carried {
  readonly event: TypedEvent;
  readonly key: string;
  readonly state: Versioned;
}

function foldOver(held: Map<string, Versioned>, changed: Map<string, Versioned>, carried: readonly Carried[]): readonly Folded<TypedEvent, Versioned>[] {
  for (const { key } of carried) {
    const before = changed.get(key);
    if (before !== undefined) held.set(key, before);
  }
  const byState = new Map(carried.map((one) => [one.state, one]));
  const fold = foldBatch(held, carried, ({ state }) => state, (state) => byState.get(state)?.key ?? '');
  for (const [key, state] of fold.changed) changed.set(key, state);
  return fold.folded.map(({ event: { event }, state, decision }) => ({ event, state, decision }));
}
