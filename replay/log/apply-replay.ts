import { Failure } from '../../process/failure.ts';
import { passStep } from '../../process/steps.ts';
import { driveRun, type Driven, type DriveOptions, type RunControl } from '../run/drive-run.ts';
import { loadRun, requirePlanIntact, type Run } from '../run/runs.ts';
import { eventFolds } from './event-folds.ts';
import { lookAhead, type ReplayPlan } from './plan-replay.ts';
import type { LogBatch } from './range-reader.ts';
import { decodeRecords, type ReplayDeps } from './replay-deps.ts';
import { matchesFilter } from './replay-request.ts';

/** Where a replay stands: the next offset of each partition, and what became of the events so far. */
export interface ReplayCheckpoint {
  readonly offsets?: Readonly<Record<string, number>>;
  readonly counts?: Readonly<Record<string, number>>;
}

/** Events of one transaction. */
const batchMax = 2_000;
const triesMax = 5;

/**
 * Applies what a plan found, through the handlers of live traffic, in a lane and at a rate of its own (D1). State, what follows
 * from it and the checkpoint commit together, so a replay that was killed goes on after the last batch that committed.
 * Refused when what would change is no longer what the plan said.
 * @throws Failure input PLAN_CHANGED, RUN_LEASED, NOT_FOUND, STALE_VERSION; dependency UNAVAILABLE
 */
export async function applyReplay(deps: ReplayDeps, runId: string, options: DriveOptions): Promise<Driven> {
  const run = await loadRun(deps.database, runId, ['replay']);
  await requirePlanIntact(deps.database, run);
  if (run.state === 'planned') await requireSameOutlook(deps, run);
  await requireLog(deps, run);
  return await driveRun(deps.database, runId, options, async (control) => { await applyAll(deps, control); });
}

/** @throws Failure input PLAN_CHANGED */
async function requireSameOutlook(deps: ReplayDeps, run: Run): Promise<void> {
  const plan = run.plan as ReplayPlan; // a plan of this kind
  const now = await lookAhead(deps, plan);
  if (now.changes !== plan.outlook.changes) {
    throw new Failure('input', 'PLAN_CHANGED', `Run ${run.runId} would change ${now.changedKeys} lines or records now, and not those ${plan.outlook.changedKeys} of its plan: what stands has moved since.`);
  }
}

/** The log has to be the one that was planned with, and still there (I26). @throws Failure input PLAN_CHANGED */
async function requireLog(deps: ReplayDeps, run: Run): Promise<void> {
  const { topic, clusterId, spans } = run.plan as ReplayPlan; // a plan of this kind
  const cluster = await deps.reader.clusterId();
  if (cluster !== clusterId) throw new Failure('input', 'PLAN_CHANGED', `The plan is of the Kafka cluster ${clusterId}, but this is ${cluster}.`);
  const logs = new Map((await deps.reader.partitions(topic)).map((log) => [log.partition, log]));
  for (const { partition, from, to } of spans) {
    const log = logs.get(partition);
    if (log === undefined || log.start > from || log.end < to) throw new Failure('input', 'PLAN_CHANGED', `${topic}/${partition} no longer has the offsets from ${from} to ${to}.`);
  }
}

async function applyAll(deps: ReplayDeps, control: RunControl): Promise<void> {
  const { topic, spans, filter } = control.run.plan as ReplayPlan; // a plan of this kind
  let { offsets = {}, counts = noCounts } = control.run.checkpoint as ReplayCheckpoint; // written below
  const applyPart = async ({ partition, records, next }: LogBatch): Promise<void> => {
    await control.gate(records.length);
    const { events, unreadable } = await decodeRecords(deps.codec, topic, records);
    const matched = events.filter((event) => matchesFilter(event, filter));
    const after = { ...offsets, [String(partition)]: next };
    let sum = counts;
    await unlessRaced(async () => {
      await control.commit(async (trx) => {
        sum = addCounts(counts, { unreadable });
        if (matched.length > 0) sum = addCounts(sum, (await eventFolds[topic].apply(trx, matched, { runId: control.lease.runId, lane: 'replay' })).counts);
        passStep('replay:batch:commit', partition);
        return { ok: records.length - unreadable, failed: unreadable, checkpoint: { offsets: after, counts: sum } };
      });
    });
    offsets = after;
    counts = sum;
  };
  const left = spans.map(({ partition, from, to }) => ({ partition, from: Math.max(from, offsets[String(partition)] ?? from), to }));
  await deps.reader.read(topic, left, async ({ partition, records, next }) => {
    for (let from = 0; from === 0 || from < records.length; from += batchMax) {
      await applyPart({ partition, records: records.slice(from, from + batchMax), next: records[from + batchMax]?.offset ?? next });
    }
  });
}

const noCounts: Readonly<Record<string, number>> = { applied: 0, superseded: 0, duplicate: 0, conflict: 0, unreadable: 0 };

const addCounts = (counts: Readonly<Record<string, number>>, more: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries([...new Set([...Object.keys(counts), ...Object.keys(more)])].map((name) => [name, (counts[name] ?? 0) + (more[name] ?? 0)]));

/** A live consumer may be at the same records at the same moment: what lost the race is folded again, and finds its work done. */
async function unlessRaced(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== 'dependency' || tries >= triesMax) throw error;
    }
  }
}
