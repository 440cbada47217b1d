import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { applyCanary, applyFleet } from '../../replay/backfill/apply-backfill.ts';
import { parseWorkspaceList } from '../../replay/backfill/backfill-input.ts';
import { planBackfill } from '../../replay/backfill/plan-backfill.ts';
import { reportBackfill } from '../../replay/backfill/report-backfill.ts';
import { applyRollback, planRollback } from '../../replay/backfill/rollback.ts';
import { verifyRun } from '../../replay/backfill/verify-backfill.ts';
import { readRows } from '../../replay/import/import-rows.ts';
import { planImport } from '../../replay/import/import-run.ts';
import { setControls } from '../../replay/run/operate.ts';
import { loadItems, loadRun, type Run } from '../../replay/run/runs.ts';
import { BackfillWorld } from '../support/backfill-world.ts';
import { startCommand } from '../support/command-process.ts';
import type { StepFault } from '../support/step-signal.ts';

/** `npm run test:large`: a fleet of 10,000, and every kind of run that works through a list killed at every step that it passes. */
let world: BackfillWorld;
let checkpoint: unknown;
const reason = 'a test';
beforeAll(async () => {
  world = await BackfillWorld.open();
  const run = await plan([await world.workspace(), await world.workspace()]);
  const canary = (await loadItems(world.world.database, run.runId))[0]?.subject ?? '';
  await applyCanary(world.deps, run.runId, canary, world.options());
  await world.flow();
  await world.boot(canary);
  await verifyRun(world.deps, run.runId, reason);
  ({ checkpoint } = await loadRun(world.world.database, run.runId));
});
afterAll(async () => { await world.close(); });
beforeEach(async () => { await world.relay(); });

const plan = async (ids: readonly string[]): Promise<Run> => await planBackfill(world.deps, { listed: parseWorkspaceList(ids.join('\n')), item: 'seo-agent', reason });
async function fleet(count: number): Promise<{ run: Run; ids: string[] }> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) ids.push(await world.workspace());
  const run = await plan(ids);
  await world.world.database('runs').where({ run_id: run.runId }).update({ checkpoint: JSON.stringify(checkpoint) });
  await setControls(world.world.database, run.runId, { rate: 100_000, restartsPerHour: 1_000_000, lagSeconds: 1_000_000 }, reason);
  return { run, ids };
}

test('I16, D5, D7: 10,000 workspaces, each once; a second run writes nothing; the counts add up', async () => {
  const { run, ids } = await fleet(10_000);
  const startedAt = performance.now();
  expect(await applyFleet(world.deps, run.runId, world.options())).toMatchObject({ state: 'done', run: { ok: 10_000, failed: 0, skipped: 0 } });
  process.stderr.write(`[large] 10,000 workspaces tagged at ${String(Math.round(10_000 / ((performance.now() - startedAt) / 1000)))}/s\n`);
  expect(await reportBackfill(world.world.database, run.runId)).toMatchObject({ total: 10_000, tagged: 10_000, left: 0 });
  const before = await world.published();
  expect(await plan(ids)).toMatchObject({ total: 10_000, skipped: 10_000 });
  const back = await planRollback(world.deps, run.runId, reason);
  await setControls(world.world.database, back.runId, { lagSeconds: 1_000_000 }, reason);
  expect(await world.published()).toBe(before);
  expect(await applyRollback(world.deps, back.runId, world.options())).toMatchObject({ state: 'done', run: { ok: 10_000 } });
  expect(await world.published()).toBe(before + 10_000);
}, 900_000);

/** One kind of run over a handful of workspaces: made anew for each kill. */
interface Job {
  readonly name: string;
  readonly word: 'backfill' | 'import';
  readonly make: () => Promise<{ run: Run; ids: readonly string[] }>;
}

const workspacesMany = 30;
const jobs: readonly Job[] = [
  { name: 'backfill', word: 'backfill', make: async () => await fleet(workspacesMany) },
  {
    name: 'rollback', word: 'backfill', make: async () => {
      const { run, ids } = await fleet(workspacesMany);
      await applyFleet(world.deps, run.runId, world.options());
      await world.relay();
      return { run: await planRollback(world.deps, run.runId, reason), ids };
    },
  },
  {
    name: 'import', word: 'import', make: async () => {
      const ids = Array.from({ length: workspacesMany }, () => randomUUID());
      const rows = readRows(`workspace_id,org_id,runtime\n${ids.map((id) => `${id},${world.world.org},claude-code`).join('\n')}\n`);
      return { run: await planImport({ database: world.world.database, controlPlane: world.controlPlane, billing: world.controlPlane }, { of: 'workspaces', ...rows, reason }), ids };
    },
  },
];

/** What a run left: records, their events in order, its traces, its items and its counts. */
async function left(run: Run, ids: readonly string[]): Promise<unknown> {
  const { rows } = await world.controlPlane.raw<{ rows: unknown[] }>(
    `select w.template, w.status, w.record_version as version, w.generation, w.epoch, (select array_agg(o.type || ' ' || (o.body ->> 'record_version') || ' ' || (o.body ->> 'origin') order by o.id) from waybill_outbox o where o.key = w.workspace_id::text) as events,
       (select count(*) from waybill_run_changes c where c.run_id = ? and c.workspace_id = w.workspace_id) as changes
     from unnest(?::uuid[]) with ordinality as asked(workspace_id, n) join waybill_workspaces w using (workspace_id) order by n`, [run.runId, [...ids]],
  );
  const items = new Map((await loadItems(world.world.database, run.runId)).map(({ subject, state, code }) => [subject, `${state} ${code ?? ''}`]));
  const { state, ok, failed, skipped } = await loadRun(world.world.database, run.runId);
  return { rows, items: ids.map((id) => items.get(id)), run: { state, ok, failed, skipped } };
}

describe.each(jobs)('a $name', ({ name, word, make }) => {
  test('I16, D5: killed at every step that it passes, and resumed, leaves what an uninterrupted one leaves', async () => {
    const environment = { ...world.environment(), WAYBILL_BILLING_DATABASE_URL: world.world.isolated.databaseUrl, WAYBILL_BILLING_DATABASE_SCHEMA: 'control_plane' };
    const command = async (verb: string, run: Run, fault: StepFault | null = null) => {
      await world.relay();
      return await startCommand([word, verb, run.runId, '--reason', reason, '--json'], environment, fault).ended;
    };
    const whole = await make();
    const uninterrupted = await command('apply', whole.run);
    expect([uninterrupted.end, uninterrupted.err]).toEqual([0, '']);
    const reference = await left(whole.run, whole.ids);
    const points = [...Map.groupBy(uninterrupted.trace, (step) => step)]
      .flatMap(([step, passings]) => [...new Set([1, Math.ceil(passings.length / 2), passings.length])].map((nth) => ({ step, nth, signal: 'SIGKILL' as const })));
    for (const point of points) {
      const { run, ids } = await make();
      expect((await command('apply', run, point)).end, `${point.step} #${String(point.nth)}`).toBe('SIGKILL');
      await world.world.database('runs').where({ run_id: run.runId }).update({ lease_until: new Date(0) });
      const resumed = await command('resume', run);
      expect(resumed.end, `${point.step} #${String(point.nth)}: ${resumed.err}`).toBe(0);
      expect(await left(run, ids), `${point.step} #${String(point.nth)}`).toEqual(reference);
    }
    process.stderr.write(`[large] ${name}: killed at ${String(points.length)} points, ${String(new Set(points.map(({ step }) => step)).size)} steps\n`);
  }, 900_000);
});
