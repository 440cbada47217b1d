import { afterAll, beforeAll, expect, inject, test } from 'vitest';

import { createRangeReader } from '../../adapters/kafka/range-reader.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { projectionDigest } from '../../consumers/projection-digest.ts';
import { applyReplay, type ReplayCheckpoint } from '../../replay/log/apply-replay.ts';
import { planReplay } from '../../replay/log/plan-replay.ts';
import { planRebuild, type RebuildDeps, type RebuildPlan } from '../../replay/rebuild/plan-rebuild.ts';
import { loadRun, type Run } from '../../replay/run/runs.ts';
import { parseItemId, parseOrgId, parsePurchaseId } from '../../schemas/ids.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { startCommand } from '../support/command-process.ts';
import { purchase, revoke } from '../support/histories.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';

/** 100,000 events in the log, all folded by the live consumer, which has stopped. */
const events = 100_000;
let pipeline: TestPipeline;
let deps: RebuildDeps;
const reason = 'a test';
const options = () => ({ measuring: { database: pipeline.database }, holder: 'test', signal: new AbortController().signal });
const plan = async (): Promise<Run> => await planReplay(deps, { topic: 'marketplace.entitlements', filter: {}, reason, controls: { rate: 1e9, lagSeconds: 1e9 } });
const outbox = async (): Promise<unknown> => (await pipeline.database.raw<{ rows: unknown[] }>('select count(*) as said, (select count(*) from pending) as due from waybill_outbox')).rows;

beforeAll(async () => {
  pipeline = await startPipeline();
  deps = { database: pipeline.database, codec: pipeline.codec, topicPrefix: pipeline.isolated.topicPrefix, reader: createRangeReader({ kafka: pipeline.kafka, topicPrefix: pipeline.isolated.topicPrefix }) };
  const line = (n: number) => ({ org_id: parseOrgId(`00000000-0000-4000-8000-${String(n % 5_000).padStart(12, '0')}`), item_id: parseItemId(`item-${n % 97}`), purchase_id: parsePurchaseId(`p-${n}`) });
  for (let from = 0; from < events / 2; from += 5_000) {
    await pipeline.publish(...Array.from({ length: 5_000 }, (_, i) => purchase(line(from + i))));
    await pipeline.publish(...Array.from({ length: 5_000 }, (_, i) => ((from + i) % 5 === 0 ? revoke(line(from + i)) : purchase({ ...line(from + i), entitlement_version: 2 }))));
  }
  const running = pipeline.run(entitlementsConsumer);
  await pipeline.settled(entitlementsConsumer, 240_000);
  await running.stop();
}, 400_000);
afterAll(async () => { await pipeline.drop(); });

test('D1: 100,000 events replayed twice change nothing, say nothing and wake nobody', async () => {
  const before = [await projectionDigest(pipeline.database), await outbox()];
  for (let round = 1; round <= 2; round += 1) {
    const run = await plan();
    const startedAt = performance.now();
    expect(await applyReplay(deps, run.runId, options())).toMatchObject({ state: 'done', run: { ok: events } });
    process.stderr.write(`[large] ${String(events)} stale events, planned again and replayed, at ${String(Math.round(events / ((performance.now() - startedAt) / 1000)))}/s\n`);
  }
  expect([await projectionDigest(pipeline.database), await outbox()]).toEqual(before);
}, 300_000);

test('D2, I19: 100,000 events rebuilt are what is live; the one row that was altered is found', async () => {
  const clean = await planRebuild(deps, reason);
  expect(clean).toMatchObject({ total: 0, plan: { events } });
  process.stderr.write(`[large] rebuild folded ${String((clean.plan as RebuildPlan).perSecond)} events/s\n`);
  await pipeline.database.raw(`update entitlement_lines set policy = '9.9.9' where purchase_id = 'p-4711'`);
  expect((await planRebuild(deps, reason)).total).toBe(1);
  await pipeline.database.raw(`update entitlement_lines set policy = 'stable' where purchase_id = 'p-4711'`);
}, 300_000);

test('D1, D5: a replay that brings 20,000 lines back, killed at every step that it passes and resumed, arrives at the same state and says the same', async () => {
  const lose = async (): Promise<void> => {
    await pipeline.database.raw(`delete from entitlement_lines where substr(purchase_id, 3)::bigint < 20000`);
    await pipeline.database.raw('update entitlements set entitled = false');
    await pipeline.database.raw('delete from waybill_outbox');
  };
  const environment = {
    ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: pipeline.isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'public', WAYBILL_TOPIC_PREFIX: pipeline.isolated.topicPrefix,
    WAYBILL_STATE_DIR: '/nowhere/at/all',
  };
  const command = async (verb: string, run: Run, fault: Parameters<typeof startCommand>[2]) => await startCommand(['replay', verb, run.runId, '--reason', reason, '--json'], environment, fault).ended;
  const countsOf = async (run: Run): Promise<unknown> => ((await loadRun(pipeline.database, run.runId)).checkpoint as ReplayCheckpoint).counts;
  await lose();
  const first = await plan();
  const uninterrupted = await command('apply', first, null);
  expect([uninterrupted.end, uninterrupted.err]).toEqual([0, '']);
  // Lines, that is; pairs whose lines were all there say what they said, and are only forgotten by this test.
  const lines = async (): Promise<unknown> => (await pipeline.database.raw<{ rows: unknown[] }>(`select count(*) as lines, sum(('x' || left(digest, 15))::bit(60)::bigint)::text as sum, count(*) filter (where revoked) as revoked from entitlement_lines`)).rows;
  const reference = [await lines(), await countsOf(first)];
  const points = [...Map.groupBy(uninterrupted.trace, (step) => step)].flatMap(([step, passings]) => [...new Set([1, passings.length])].map((nth) => ({ step, nth, signal: 'SIGKILL' as const })));
  for (const point of points) {
    await lose();
    const run = await plan();
    expect((await command('apply', run, point)).end, point.step).toBe('SIGKILL');
    await pipeline.database('runs').where({ run_id: run.runId }).update({ lease_until: new Date(0) });
    const resumed = await command('resume', run, null);
    expect([resumed.end, resumed.err], `${point.step} #${String(point.nth)}`).toEqual([0, '']);
    expect([await lines(), await countsOf(run)], `${point.step} #${String(point.nth)}`).toEqual(reference);
  }
  process.stderr.write(`[large] replay: killed at ${String(points.length)} points\n`);
}, 900_000);
