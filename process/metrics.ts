import { channel } from 'node:diagnostics_channel';

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

import { asDatabaseFailure, tx, type Database, type Transaction } from './database.ts';
import { asFailure, Failure } from './failure.ts';

/**
 * Every metric but those of Node itself: name → kind, meaning, labels. The values of a label are few and known: roles, codes,
 * lanes, partitions; never an id of an org, a workspace or an item (E1). test/rules/metrics.test.ts holds alerts to this table.
 */
export const metricTable = {
  waybill_consumer_records_total: { kind: 'counter', help: 'Records settled, by what became of each (I4).', labels: ['consumer', 'bucket'] },
  waybill_consumer_batch_seconds: { kind: 'histogram', help: 'From decoding a batch to the answer of its commit.', labels: ['consumer'] },
  waybill_consumer_lag_records: { kind: 'gauge', help: 'Records of a partition that are not settled, as last fetched.', labels: ['consumer', 'partition'] },
  waybill_relay_rows_total: { kind: 'counter', help: 'Rows of the outbox, by what the relay did with them.', labels: ['step'] },
  waybill_steps_total: { kind: 'counter', help: 'Steps of delivery attempts that were reached.', labels: ['step'] },
  waybill_attempts_total: { kind: 'counter', help: 'Delivery attempts that ended, by the code of their failure, `none` without one.', labels: ['act', 'code'] },
  waybill_attempt_seconds: { kind: 'histogram', help: 'From the claim of a delivery attempt to its end.', labels: ['act'] },
  waybill_sweep_checked_total: { kind: 'counter', help: 'Workspaces whose wanted and present were compared (C12).', labels: [] },
  waybill_sweep_found_total: { kind: 'counter', help: 'Workspaces that nobody had woken although something was to be done: each is a bug (C12).', labels: [] },
  waybill_probes_asked_total: { kind: 'counter', help: 'Probes that the sweep asked for (C9).', labels: [] },
  waybill_database_up: { kind: 'state', help: '1 when the database answered for the gauges of state, else 0 and they are left out.', labels: [] },
  waybill_pending_workspaces: { kind: 'state', help: 'Workspaces that are due, will be, or are worked on.', labels: ['lane'] },
  waybill_pending_oldest_seconds: { kind: 'state', help: 'How long the workspace has waited that has been due longest and is not worked on.', labels: ['lane'] },
  waybill_not_ready_workspaces: { kind: 'state', help: 'Workspaces that wait in their boot for AssetsReady, by what they wait for, `none` while in work (C9).', labels: ['code'] },
  waybill_not_ready_oldest_seconds: { kind: 'state', help: 'How long the one has waited that has waited longest, since the first attempt in its epoch.', labels: ['code'] },
  waybill_parked_workspaces: { kind: 'state', help: 'Workspaces by the code in their delivery row: what somebody has to act upon.', labels: ['code'] },
  waybill_restarts_capped_workspaces: { kind: 'state', help: 'Workspaces whose restart waits for the cap of three an hour (C11).', labels: [] },
  waybill_fanouts_open: { kind: 'state', help: 'Items whose workspaces are yet to be woken, page after page.', labels: [] },
  waybill_outbox_unsent_rows: { kind: 'state', help: 'Rows of the outbox that are yet to be published.', labels: [] },
  waybill_outbox_oldest_seconds: { kind: 'state', help: 'Age of the oldest of them.', labels: [] },
  waybill_dead_letters_open: { kind: 'state', help: 'Dead letters that nobody has redriven or discarded.', labels: ['consumer'] },
  waybill_dead_letters_oldest_seconds: { kind: 'state', help: 'Age of the oldest of them.', labels: ['consumer'] },
} as const satisfies Record<string, { readonly kind: 'counter' | 'gauge' | 'histogram' | 'state'; readonly help: string; readonly labels: readonly string[] }>;

type MetricName = keyof typeof metricTable;
type NameOf<Kind> = { [N in MetricName]: (typeof metricTable)[N]['kind'] extends Kind ? N : never }[MetricName];

const metricNames = Object.keys(metricTable) as MetricName[]; // the keys of a constant

const definitionOf = (name: MetricName, registry: Registry) => ({ name, help: metricTable[name].help, labelNames: [...metricTable[name].labels], registers: [registry] });

/** One value of a gauge of state. What a source leaves out is not shown: it says 0 where 0 is known. */
export interface StateSample {
  readonly name: NameOf<'state'>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads gauges of state, in a read-only transaction of its own few seconds. Stands in the room whose tables it reads. */
export type StateSource = (trx: Transaction) => Promise<readonly StateSample[]>;

/** What the seams publish, as far as it is counted here; the rooms' own types have more. */
interface Messages {
  'waybill:consumer:batch': { place: { consumer: string }; counts: Readonly<Record<string, number>>; ms: number };
  'waybill:consumer:lag': { consumer: string; partition: number; records: number };
  'waybill:relay': { step: string; rows: number };
  'waybill:step': { name: string };
  'waybill:attempt': { act: string; code: string | null; ms: number };
  'waybill:sweep': { checked: number; found: number; probesAsked: number };
}

/** Seconds: from a step that is a transaction to a fetch of the largest release. */
const buckets = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300];

/** Longest age of a reading of the state, and longest that it may take, in milliseconds: many may scrape, one reads. */
const stateAgeMs = 5_000;
const stateTimeoutMs = 5_000;

export interface Metrics {
  readonly contentType: string;
  /** All metrics in Prometheus' text format. Answers also while the database does not. */
  text(): Promise<string>;
  /** Stops counting. */
  close(): void;
}

/**
 * Counts what this process does from now on, at the diagnostics channels of the seams. With a database it also shows the
 * state that all processes share, read when it is asked for.
 */
export function openMetrics(state?: { readonly database: Database; readonly sources: readonly StateSource[] }): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const name of metricNames) {
    const { kind } = metricTable[name];
    if (kind === 'counter') counters.set(name, new Counter(definitionOf(name, registry)));
    else if (kind === 'histogram') histograms.set(name, new Histogram({ ...definitionOf(name, registry), buckets }));
    else if (kind === 'gauge') gauges.set(name, new Gauge(definitionOf(name, registry)));
  }
  const count = (name: NameOf<'counter'>, labels: Record<string, string>, by = 1): void => { counters.get(name)?.inc(labels, by); };
  const observe = (name: NameOf<'histogram'>, labels: Record<string, string>, ms: number): void => { histograms.get(name)?.observe(labels, ms / 1000); };
  const set = (name: NameOf<'gauge'>, labels: Readonly<Record<string, string>>, value: number): void => { gauges.get(name)?.set(labels, value); };

  // What an alert waits for is there from the start: an increase from nothing to 1 is none to Prometheus.
  count('waybill_relay_rows_total', { step: 'refused' }, 0);
  count('waybill_attempts_total', { act: 'failed', code: 'INTEGRITY_FAILED' }, 0);
  const ends = [
    subscribe('waybill:consumer:batch', ({ place: { consumer }, counts, ms }) => {
      for (const [bucket, records] of Object.entries(counts)) count('waybill_consumer_records_total', { consumer, bucket }, records);
      observe('waybill_consumer_batch_seconds', { consumer }, ms);
    }),
    subscribe('waybill:consumer:lag', ({ consumer, partition, records }) => { set('waybill_consumer_lag_records', { consumer, partition: String(partition) }, records); }),
    subscribe('waybill:relay', ({ step, rows }) => { count('waybill_relay_rows_total', { step }, rows); }),
    subscribe('waybill:step', ({ name }) => { count('waybill_steps_total', { step: name }); }),
    subscribe('waybill:attempt', ({ act, code, ms }) => {
      count('waybill_attempts_total', { act, code: code ?? 'none' });
      observe('waybill_attempt_seconds', { act }, ms);
    }),
    subscribe('waybill:sweep', ({ checked, found, probesAsked }) => {
      count('waybill_sweep_checked_total', {}, checked);
      count('waybill_sweep_found_total', {}, found);
      count('waybill_probes_asked_total', {}, probesAsked);
    }),
  ];

  const readState = shared(async () => {
    if (state === undefined) return;
    const samples = await readSamples(state.database, state.sources);
    // Made anew each time: a gauge that nobody has read is left out, where a reset one would say 0.
    for (const name of metricNames) if (metricTable[name].kind === 'state') registry.removeSingleMetric(name);
    const up: StateSample = { name: 'waybill_database_up', value: samples === undefined ? 0 : 1 };
    for (const [name, ofName] of Map.groupBy([up, ...samples ?? []], (sample) => sample.name)) {
      const gauge = new Gauge(definitionOf(name, registry));
      for (const { labels = {}, value } of ofName) gauge.set(labels, value);
    }
  });
  return {
    contentType: registry.contentType,
    async text() {
      await readState();
      return await registry.metrics();
    },
    close() {
      for (const end of ends) end();
      registry.clear();
    },
  };
}

function subscribe<Name extends keyof Messages>(name: Name, hear: (message: Messages[Name]) => void): () => void {
  const seam = channel(name);
  const listener = (message: unknown): void => { hear(message as Messages[Name]); }; // each channel has one kind of publisher
  seam.subscribe(listener);
  return () => { seam.unsubscribe(listener); };
}

/** Undefined while the database is unwell. */
async function readSamples(database: Database, sources: readonly StateSource[]): Promise<readonly StateSample[] | undefined> {
  try {
    const samples: StateSample[] = [];
    for (const source of sources) samples.push(...await readSource(database, source));
    return samples;
  } catch (error) {
    if (asFailure(asDatabaseFailure(error)).kind !== 'dependency') throw error;
    return undefined;
  }
}

/** Nothing where the database role of this process may not look: another process shows it. */
async function readSource(database: Database, source: StateSource): Promise<readonly StateSample[]> {
  try {
    return await tx(database, async (trx) => {
      await trx.raw('set transaction read only');
      await trx.raw(`select set_config('statement_timeout', ?, true)`, [String(stateTimeoutMs)]);
      return await source(trx);
    });
  } catch (error) {
    if (error instanceof Failure && error.code === 'CONFIG_INVALID') return [];
    throw error;
  }
}

/** Runs `work` once for all who ask within its age. */
function shared(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let startedAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (running === undefined || performance.now() - startedAt > stateAgeMs) {
      startedAt = performance.now();
      running = work();
      running.catch(() => { running = undefined; });
    }
    await running;
  };
}
