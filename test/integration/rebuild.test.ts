import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createRangeReader } from '../../adapters/kafka/range-reader.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { projectionDigest } from '../../consumers/projection-digest.ts';
import { workspacesConsumer } from '../../consumers/workspaces.ts';
import type { Difference } from '../../replay/rebuild/compare.ts';
import { planRebuild, type RebuildDeps, type RebuildPlan } from '../../replay/rebuild/plan-rebuild.ts';
import { repairRebuild } from '../../replay/rebuild/repair.ts';
import { loadItems, type Run } from '../../replay/run/runs.ts';
import { parseItemId, parsePurchaseId } from '../../schemas/ids.ts';
import { items, orgs, provisioned, purchase, revoke, workspaces } from '../support/histories.ts';
import { startPipeline, type RunningConsumer, type TestPipeline } from '../support/pipeline.ts';

let pipeline: TestPipeline;
let deps: RebuildDeps;
let running: RunningConsumer[];
const reason = 'a test';
const line = (n: number, version: number) => purchase({ item_id: parseItemId(`item-${n % 7}`), purchase_id: parsePurchaseId(`p-${n}`), entitlement_version: version });
const settled = async (): Promise<void> => { await Promise.all([pipeline.settled(entitlementsConsumer), pipeline.settled(workspacesConsumer)]); };
const sql = async (text: string): Promise<void> => { await pipeline.database.raw(text); };
const options = () => ({ measuring: { database: pipeline.database }, holder: 'test', signal: new AbortController().signal });
const differencesOf = async (run: Run): Promise<Difference[]> => (await loadItems(pipeline.database, run.runId)).map(({ plan }) => plan as Difference);

beforeEach(async () => {
  pipeline = await startPipeline();
  deps = { database: pipeline.database, codec: pipeline.codec, topicPrefix: pipeline.isolated.topicPrefix, reader: createRangeReader({ kafka: pipeline.kafka, topicPrefix: pipeline.isolated.topicPrefix }) };
  await pipeline.publish(...Array.from({ length: 90 }, (_, n) => line(n, 1)), ...Array.from({ length: 40 }, (_, n) => line(n, 2)), revoke({ item_id: parseItemId('item-0'), purchase_id: parsePurchaseId('p-0'), entitlement_version: 3 }));
  await pipeline.publish(...workspaces.map((workspace_id) => provisioned({ workspace_id, template: items[0] ?? null })));
  running = [pipeline.run(entitlementsConsumer), pipeline.run(workspacesConsumer)];
  await settled();
});
afterEach(async () => { await pipeline.drop(); });

describe('a rebuild', () => {
  test('I19, D2: finds nothing where live is what the log says, also while live traffic goes on, and leaves nothing behind', async () => {
    const calm = await planRebuild(deps, reason);
    expect(calm).toMatchObject({ total: 0, plan: { events: 134, unreadable: 0, moving: 0 } });
    expect((calm.plan as RebuildPlan).tables.entitlement_lines).toMatchObject({ rows: 90, differingRanges: 0 });
    const over = new AbortController();
    const traffic = (async () => {
      for (let version = 10; !over.signal.aborted; version += 1) await pipeline.publish(...Array.from({ length: 20 }, (_, n) => line(n, version)));
    })();
    const busy = await planRebuild(deps, reason);
    over.abort();
    await traffic;
    expect(busy.total).toBe(0);
    expect((await pipeline.database.raw<{ rows: unknown[] }>(`select from pg_namespace where nspname like 'waybill_shadow%'`)).rows).toEqual([]);
  });

  test('D2: names every row that was altered, removed or added by hand, with both sides, and repairs it; then it finds nothing', async () => {
    const whole = await projectionDigest(pipeline.database);
    await Promise.all(running.map(async (consumer) => { await consumer.stop(); }));
    // The stored digest is as it was: what a person changes is found by the row itself.
    await sql(`update entitlement_lines set policy = '9.9.9' where purchase_id = 'p-5'`);
    await sql(`delete from entitlement_lines where purchase_id = 'p-6'`);
    await sql(`insert into entitlement_lines select org_id, item_id, 'p-forged', entitlement_version, revoked, digest, source, policy, valid_from, valid_until, ended_at, reason, event_id from entitlement_lines where purchase_id = 'p-7'`);
    await sql(`update workspace_records set template = 'support-agent' where workspace_id = '${workspaces[0] ?? ''}'`);
    await sql(`update entitlements set entitled = false, policy = null where item_id = 'item-2'`);
    await sql('delete from pending');
    const run = await planRebuild(deps, reason);
    const found = await differencesOf(run);
    const org = orgs[0] ?? '';
    expect(found.map(({ table, key, live, log }) => [table, key, live !== null, log !== null])).toEqual([
      ['entitlement_lines', `${org}/item-0/p-forged`, true, false], ['entitlement_lines', `${org}/item-5/p-5`, true, true], ['entitlement_lines', `${org}/item-6/p-6`, false, true],
      ['entitlements', `${org}/item-2`, true, true], ['workspace_records', workspaces[0], true, true],
    ]);
    expect([found[1]?.live?.['policy'], found[1]?.log?.['policy']]).toEqual(['9.9.9', 'stable']);
    expect(await repairRebuild(pipeline.database, run.runId, options())).toMatchObject({ state: 'done', run: { ok: 5, skipped: 0 } });
    expect(await projectionDigest(pipeline.database)).toBe(whole);
    expect((await planRebuild(deps, reason)).total).toBe(0);
    const { rows } = await pipeline.database.raw<{ rows: { woken: number; said: number; audited: number }[] }>(
      `select (select count(*) from pending where workspace_id = '${workspaces[0] ?? ''}' and lane = 3) as woken,
         (select count(*) from waybill_outbox where body ->> 'run_id' = '${run.runId}') as said,
         (select count(*) from audit where action = 'rebuild repair' and detail ->> 'run' = '${run.runId}') as audited`);
    expect(rows).toEqual([{ woken: 1, said: 4, audited: 5 }]);
  });

  test('D2: a row that changed after it was listed is left alone', async () => {
    await sql(`update entitlement_lines set policy = '9.9.9' where purchase_id = 'p-5'`);
    await sql(`update entitlement_lines set policy = '9.9.9' where purchase_id = 'p-8'`);
    const run = await planRebuild(deps, reason);
    expect(run.total).toBe(2);
    await pipeline.publish(line(8, 7));
    await settled();
    expect(await repairRebuild(pipeline.database, run.runId, options())).toMatchObject({ run: { ok: 1, skipped: 1 } });
    expect((await loadItems(pipeline.database, run.runId)).map(({ state, code }) => [state, code])).toEqual([['skipped', 'PLAN_CHANGED'], ['ok', null]]);
    expect((await planRebuild(deps, reason)).total).toBe(0);
  });
});
