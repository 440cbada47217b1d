import { setTimeout as delay } from 'node:timers/promises';
import { cpus } from 'node:os';

import { createRangeReader } from '../adapters/kafka/range-reader.ts';
import { entitlementsConsumer } from '../consumers/entitlements.ts';
import { runConsumer } from '../consumers/run-consumer.ts';
import { batchChannel, type BatchSettled } from '../consumers/settle.ts';
import { silentLogger } from '../process/log.ts';
import { applyReplay } from '../replay/log/apply-replay.ts';
import { planReplay } from '../replay/log/plan-replay.ts';
import { planRebuild, type RebuildPlan } from '../replay/rebuild/plan-rebuild.ts';
import { deriveEventId, parseItemId, parseOrgId, parsePolicy, parsePurchaseId } from '../schemas/ids.ts';
import { keyOf } from '../schemas/topics.ts';
import { openWorld, type World } from './entitlements-world.ts';

/** Stale events a second that a replay and a rebuild aim at (issue 6). */
const goal = 50_000;
/** Live purchases are published this far apart while latency is measured. */
const liveEveryMs = 25;
const liveMs = 8_000;

interface Options {
  readonly rounds: number;
  readonly events: number;
  readonly say: (line: string) => void;
}

/** What `--json` prints. */
export interface ReplayFigures {
  readonly name: string;
  readonly ratios: { readonly goal: number };
  readonly eventsPerSecond: { readonly replay: number; readonly rebuild: number };
  /** Milliseconds from the acknowledged publish of a live purchase to its commit. */
  readonly liveMs: { readonly without: Latency; readonly with: Latency };
  readonly peakMegabytes: number;
  readonly events: number;
  readonly cores: number;
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly samples: number;
}

/**
 * A log that the live consumer has folded, replayed as a whole: every event is stale or a duplicate, so this is the fold by the
 * handlers of live traffic without its writes. Then the same log rebuilt, and live latency without and with a replay beside it.
 */
export async function benchReplay({ rounds, events, say }: Options): Promise<{ table: string; result: ReplayFigures }> {
  const world = await openWorld(events, say);
  const own = await world.freshDatabase(10);
  const abort = new AbortController();
  try {
    const live = runConsumer(entitlementsConsumer, { database: own.database, codec: world.codec, kafka: world.kafka, log: silentLogger, topicPrefix: world.topicPrefix, signal: abort.signal });
    await caughtUp(world, own.database, events);
    say('the live consumer has folded the log');
    const deps = { database: own.database, codec: world.codec, topicPrefix: world.topicPrefix, reader: createRangeReader({ kafka: world.kafka, topicPrefix: world.topicPrefix }) };
    const replayOnce = async (rate = 1e9): Promise<number> => {
      const run = await planReplay(deps, { topic: 'marketplace.entitlements', filter: {}, reason: 'bench', controls: { rate, lagSeconds: 1e9, databaseMs: 1e9 } });
      let reading = 0;
      let readAt = 0;
      // The second look at the outlook belongs to `apply`; what is measured is the fold, from the first batch on.
      const reader = { ...deps.reader, read: async (...args: Parameters<typeof deps.reader.read>) => {
        reading += 1;
        const [topic, spans, onBatch] = args;
        let begunAt = 0;
        await deps.reader.read(topic, spans, async (batch) => {
          begunAt ||= performance.now();
          await onBatch(batch);
          readAt = performance.now() - begunAt;
        });
      } };
      const done = await applyReplay({ ...deps, reader }, run.runId, { measuring: { database: own.database }, holder: 'bench', signal: abort.signal });
      if (done.state !== 'done' || reading !== 2) throw done.failure ?? new Error(`the replay ended ${done.state}`);
      return run.total / (readAt / 1000);
    };
    const replays: number[] = [];
    const rebuilds: number[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      replays.push(await replayOnce());
      rebuilds.push(((await planRebuild(deps, 'bench')).plan as RebuildPlan).perSecond);
      say(`round ${round} of ${rounds}: replay ${Math.round(replays.at(-1) ?? 0)}/s, rebuild ${Math.round(rebuilds.at(-1) ?? 0)}/s`);
    }
    const without = await liveLatency(world);
    const beside = new AbortController();
    const replaying = (async () => { while (!beside.signal.aborted) await replayOnce(5_000); })();
    const withReplay = await liveLatency(world);
    beside.abort();
    await replaying;
    abort.abort();
    await live;
    const [replay, rebuild] = [median(replays), median(rebuilds)];
    const peakMegabytes = Math.round(process.resourceUsage().maxRSS / 1024);
    const result: ReplayFigures = {
      name: 'replay', ratios: { goal: Math.round((replay / goal) * 100) / 100 }, eventsPerSecond: { replay: Math.round(replay), rebuild: Math.round(rebuild) },
      liveMs: { without, with: withReplay }, peakMegabytes, events, cores: cpus().length,
    };
    const table = [
      `Stale events, ${events} in 8 partitions, medians of ${rounds} rounds, ${cpus().length} cores`,
      '',
      `  replay: read, decode, lock, load, decide, checkpoint      ${per(replay)}   ${result.ratios.goal} of the goal of ${per(goal)}`,
      `  rebuild: read, decode, fold into shadow tables            ${per(rebuild)}`,
      `  live purchase → commit, p50 / p99, without a replay       ${without.p50} / ${without.p99} ms (${without.samples})`,
      `  the same beside a replay at its default 5,000/s           ${withReplay.p50} / ${withReplay.p99} ms (${withReplay.samples})`,
      `  largest memory of the process, the live consumer in it    ${peakMegabytes} MB`,
    ].join('\n');
    return { table, result };
  } finally {
    abort.abort();
    await own.drop();
    await world.close();
  }
}

async function caughtUp(world: World, database: Awaited<ReturnType<World['freshDatabase']>>['database'], events: number): Promise<void> {
  const deadline = Date.now() + 600_000;
  for (;;) {
    const { rows: [row] } = await database.raw<{ rows: { done: number | null }[] }>('select sum(applied + superseded + duplicate + conflict)::bigint as done from consumer_offsets where topic = ?', [`${world.topicPrefix}marketplace.entitlements`]);
    if ((row?.done ?? 0) >= events) return;
    if (Date.now() > deadline) throw new Error('the live consumer did not fold the log');
    await delay(100);
  }
}

/** Publishes purchases of its own one by one and waits for the batch that settles each. */
async function liveLatency(world: World): Promise<Latency> {
  const producer = world.kafka.producer({ idempotent: true });
  await producer.connect();
  const waiting = new Map<string, number>();
  const took: number[] = [];
  const onBatch = (message: unknown): void => {
    const { place, position } = message as BatchSettled; // its only publisher sends these
    for (const [name, at] of waiting) {
      const [partition, offset] = name.split('/').map(Number);
      if (partition !== place.partition || (offset ?? 0) >= position) continue;
      took.push(performance.now() - at);
      waiting.delete(name);
    }
  };
  batchChannel.subscribe(onBatch);
  const until = performance.now() + liveMs;
  for (let n = 0; performance.now() < until; n += 1) {
    const purchaseId = parsePurchaseId(`live_${Date.now()}_${n}`);
    const event = {
      event_id: deriveEventId('bench', purchaseId, 1), occurred_at: Date.now(), caused_by: null, run_id: null, org_id: parseOrgId('00000000-0000-4000-8000-0000000000ff'),
      item_id: parseItemId(`item-${n % 97}`), purchase_id: purchaseId, entitlement_version: 1, source: 'purchase' as const, policy: parsePolicy('stable'), valid_from: 0, valid_until: null,
    };
    const typed = { type: 'Purchase' as const, event };
    const sentAt = performance.now();
    const [at] = await producer.send({ topic: `${world.topicPrefix}marketplace.entitlements`, messages: [{ key: keyOf(typed), value: await world.codec.encode(typed) }] });
    waiting.set(`${at?.partition ?? 0}/${at?.baseOffset ?? 0}`, sentAt);
    await delay(liveEveryMs);
  }
  await delay(1_000);
  batchChannel.unsubscribe(onBatch);
  await producer.disconnect();
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), samples: sorted.length };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const per = (rate: number): string => `${Math.round(rate).toLocaleString('en')}/s`.padStart(10);
