import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createRangeReader } from '../../adapters/kafka/range-reader.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { projectionDigest } from '../../consumers/projection-digest.ts';
import { workspacesConsumer } from '../../consumers/workspaces.ts';
import { applyReplay, type ReplayCheckpoint } from '../../replay/log/apply-replay.ts';
import { planReplay, type ReplayPlan, type ReplayRequest } from '../../replay/log/plan-replay.ts';
import type { ReplayDeps } from '../../replay/log/replay-deps.ts';
import { loadRun, type Run } from '../../replay/run/runs.ts';
import { parseItemId, parsePurchaseId } from '../../schemas/ids.ts';
import { items, orgs, provisioned, purchase, revoke, workspaces } from '../support/histories.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';

/** One log for all tests of this file: purchases and records that the live consumers have folded, then stopped. */
let pipeline: TestPipeline;
let deps: ReplayDeps;
const reason = 'a test';
const options = () => ({ measuring: { database: pipeline.database }, holder: 'test', signal: new AbortController().signal });
const plan = async (request: Partial<ReplayRequest> = {}): Promise<Run> => await planReplay(deps, { topic: 'marketplace.entitlements', filter: {}, reason, controls: { rate: 1e9, lagSeconds: 1e9 }, ...request });
const outlookOf = (run: Run): ReplayPlan['outlook'] => (run.plan as ReplayPlan).outlook;
const rowsOf = async <R>(sql: string, bindings: string[] = []): Promise<R[]> => (await pipeline.database.raw<{ rows: R[] }>(sql, bindings)).rows;
const said = async (): Promise<unknown> => await rowsOf('select (select count(*) from waybill_outbox) as outbox, (select count(*) from pending) as due, (select coalesce(max(n), 0) from pending) as wakes, (select count(*) from audit where subject_kind <> \'run\') as audit');

beforeAll(async () => {
  pipeline = await startPipeline();
  deps = { database: pipeline.database, codec: pipeline.codec, reader: createRangeReader({ kafka: pipeline.kafka, topicPrefix: pipeline.isolated.topicPrefix }) };
  const line = (n: number, version: number) => purchase({ item_id: parseItemId(`item-${n % 7}`), purchase_id: parsePurchaseId(`p-${n}`), entitlement_version: version });
  await pipeline.publish(...Array.from({ length: 120 }, (_, n) => line(n, 1)), ...Array.from({ length: 60 }, (_, n) => line(n, 2)), revoke({ item_id: parseItemId('item-0'), purchase_id: parsePurchaseId('p-0'), entitlement_version: 3 }));
  await pipeline.publish(...workspaces.map((workspace_id) => provisioned({ workspace_id, template: items[0] ?? null })));
  await pipeline.publishRaw('marketplace.entitlements', [{ key: 'x', value: Buffer.from('no event') }]);
  const running = [pipeline.run(entitlementsConsumer), pipeline.run(workspacesConsumer)];
  await Promise.all([pipeline.settled(entitlementsConsumer), pipeline.settled(workspacesConsumer)]);
  await Promise.all(running.map(async (consumer) => { await consumer.stop(); }));
});
afterAll(async () => { await pipeline.drop(); });

describe('a replay', () => {
  test('D1: of everything, twice, changes nothing, says nothing and wakes nobody', async () => {
    const before = [await projectionDigest(pipeline.database), await said()];
    for (const topic of ['marketplace.entitlements', 'controlplane.workspaces', 'marketplace.entitlements', 'controlplane.workspaces'] as const) {
      const run = await plan({ topic });
      expect(outlookOf(run)).toMatchObject({ wouldChange: 0, conflicting: 0, changedKeys: 0 });
      expect((await applyReplay(deps, run.runId, options())).state).toBe('done');
    }
    expect([await projectionDigest(pipeline.database), await said()]).toEqual(before);
  });

  test('D1: the plan counts every record in one bucket, takes exactly what was asked for, and writes nothing', async () => {
    const before = [await projectionDigest(pipeline.database), await said()];
    const all = outlookOf(await plan());
    expect(all).toMatchObject({ read: 182, matched: 181, unreadable: 1, stale: 61, duplicate: 120 });
    expect(outlookOf(await plan({ filter: { item: parseItemId('item-3') } })).matched).toBe(Array.from({ length: 120 }, (_, n) => n).filter((n) => n % 7 === 3).length + Array.from({ length: 60 }, (_, n) => n).filter((n) => n % 7 === 3).length);
    expect(outlookOf(await plan({ filter: { org: orgs[1] } })).matched).toBe(0);
    expect(outlookOf(await plan({ topic: 'controlplane.workspaces', filter: { workspace: workspaces[0] } })).matched).toBe(1);
    await expect(plan({ from: { time: Date.now() + 60_000 } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(plan({ from: { offset: 1 } })).rejects.toMatchObject({ code: 'USAGE' });
    const partition = [...await pipeline.logEnds('marketplace.entitlements')].toSorted(([, a], [, b]) => b - a)[0]?.[0];
    expect(outlookOf(await plan({ partition, from: { offset: 2 }, to: { offset: 5 } })).read).toBe(3);
    expect([await projectionDigest(pipeline.database), await said()]).toEqual(before);
  });

  test('D1: brings back what is missing as live traffic would: obeys what stands, carries its run, and a change meanwhile refuses the plan', async () => {
    const whole = await projectionDigest(pipeline.database);
    const lost = async (): Promise<void> => {
      await rowsOf(`delete from entitlement_lines where purchase_id in ('p-0', 'p-8', 'p-9', 'p-100')`);
      await rowsOf('update entitlements set entitled = false, policy = null, valid_until = null, next_change_at = null');
    };
    await lost();
    const run = await plan();
    // Four lines; two events of p-8 and p-9, three of p-0.
    expect(outlookOf(run)).toMatchObject({ changedKeys: 4, byType: { Purchase: 7, Revoke: 1 } });
    const done = await applyReplay(deps, run.runId, options());
    expect(done).toMatchObject({ state: 'done', run: { ok: 181, failed: 1 } });
    const { counts } = (await loadRun(pipeline.database, run.runId)).checkpoint as ReplayCheckpoint;
    expect(counts).toMatchObject({ applied: 8, superseded: 57, duplicate: 116, conflict: 0, unreadable: 1 });
    expect(await rowsOf(`select revoked from entitlement_lines where purchase_id = 'p-0'`)).toEqual([{ revoked: true }]);
    const caused = await rowsOf<{ run: string }>(`select distinct body ->> 'run_id' as run from waybill_outbox where body ->> 'run_id' is not null`);
    expect(caused).toEqual([{ run: run.runId }]);
    expect(await rowsOf(`select count(*) as count from audit where detail ->> 'run' = ?`, [run.runId])).toEqual([{ count: 8 }]);
    // The others were only forgotten as pairs: the same lines add up to the same again.
    await rowsOf(`delete from entitlement_lines`);
    const again = await plan();
    await applyReplay(deps, again.runId, options());
    expect(await projectionDigest(pipeline.database)).toBe(whole);

    await rowsOf(`delete from entitlement_lines where purchase_id = 'p-9'`);
    const stale = await plan();
    await applyReplay(deps, (await plan()).runId, options());
    await expect(applyReplay(deps, stale.runId, options())).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
  });

  test('D1: workspaces that a replay wakes wait in its lane, behind all others', async () => {
    await rowsOf('delete from workspace_records where workspace_id = ?', [workspaces[0] ?? '']);
    await rowsOf('delete from pending where workspace_id = ?', [workspaces[0] ?? '']);
    const run = await plan({ topic: 'controlplane.workspaces', filter: { workspace: workspaces[0] } });
    await applyReplay(deps, run.runId, options());
    expect(await rowsOf('select lane from pending where workspace_id = ?', [workspaces[0] ?? ''])).toEqual([{ lane: 3 }]);
  });

  test('D1: touches no live group, and leaves none of its own', async () => {
    const admin = pipeline.kafka.admin();
    await admin.connect();
    try {
      const { groups } = await admin.listGroups();
      const ours = groups.map(({ groupId }) => groupId).filter((groupId) => groupId.startsWith(pipeline.isolated.topicPrefix));
      expect(ours.toSorted()).toEqual(['entitlements', 'workspaces'].map((name) => `${pipeline.isolated.topicPrefix}waybill.${name}`));
    } finally {
      await admin.disconnect();
    }
  });

  test('D7: paused in the middle, it goes on after the last batch that committed', async () => {
    const run = await plan({ controls: { rate: 60, lagSeconds: 1e9 } });
    const abort = new AbortController();
    const paused = applyReplay(deps, run.runId, { ...options(), signal: abort.signal });
    await expect.poll(async () => (await loadRun(pipeline.database, run.runId)).ok, { timeout: 20_000, interval: 10 }).toBeGreaterThan(0);
    abort.abort();
    const { state, run: stopped } = await paused;
    expect(state).toBe('paused');
    expect(stopped.ok).toBeLessThan(181);
    expect(await applyReplay(deps, run.runId, options())).toMatchObject({ state: 'done', run: { ok: 181, failed: 1 } });
  });
});
