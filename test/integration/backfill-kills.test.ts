import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { applyCanary, applyFleet } from '../../replay/backfill/apply-backfill.ts';
import { parseWorkspaceList } from '../../replay/backfill/backfill-input.ts';
import { planBackfill } from '../../replay/backfill/plan-backfill.ts';
import { verifyRun } from '../../replay/backfill/verify-backfill.ts';
import { setControls, stopRun } from '../../replay/run/operate.ts';
import { loadItems, loadRun, type Run } from '../../replay/run/runs.ts';
import { runStepNames } from '../../process/steps.ts';
import { BackfillWorld } from '../support/backfill-world.ts';
import { startCommand, type RunningCommand } from '../support/command-process.ts';

/** Real processes, killed and frozen at the steps of a backfill; the catalogue and one verified canary stand for all tests. */
let world: BackfillWorld;
let canary: { readonly workspace: string; readonly checkpoint: unknown };
beforeAll(async () => {
  world = await BackfillWorld.open();
  const run = await plan([await world.workspace(), await world.workspace()]);
  const workspace = (await loadItems(world.world.database, run.runId))[0]?.subject ?? '';
  await applyCanary(world.deps, run.runId, workspace, world.options());
  await world.flow();
  await world.boot(workspace);
  await verifyRun(world.deps, run.runId, 'a test');
  canary = { workspace, checkpoint: (await loadRun(world.world.database, run.runId)).checkpoint };
});
afterAll(async () => { await world.close(); });
beforeEach(async () => { await world.relay(); });

const plan = async (ids: readonly string[]): Promise<Run> => await planBackfill(world.deps, { listed: parseWorkspaceList(ids.join('\n')), item: 'seo-agent', reason: 'a test' });
/** A planned run over new workspaces, whose canary is that of this file. */
async function fleet(count: number, rate = 1_000): Promise<{ run: Run; ids: string[] }> {
  const ids = await Promise.all(Array.from({ length: count }, async () => await world.workspace()));
  const run = await plan(ids);
  await world.world.database('runs').where({ run_id: run.runId }).update({ checkpoint: JSON.stringify(canary.checkpoint) });
  await setControls(world.world.database, run.runId, { rate, restartsPerHour: 100_000 }, 'a test');
  await world.relay();
  return { run, ids };
}
const apply = (run: Run, fault?: Parameters<typeof startCommand>[2]): RunningCommand =>
  startCommand(['backfill', 'apply', run.runId, '--reason', 'a test', '--json'], world.environment(), fault ?? null);
const resume = (run: Run): RunningCommand => startCommand(['backfill', 'resume', run.runId, '--reason', 'a test', '--json'], world.environment());
/** The lease of a process that died runs out now instead of later. */
const expireLease = async (run: Run): Promise<void> => { await world.world.database('runs').where({ run_id: run.runId }).update({ lease_until: new Date(0) }); };

/** What a run left: records, the events of these workspaces in order, the trace of the run, its items. Ids and versions as they are. */
async function left(run: Run, ids: readonly string[]): Promise<unknown> {
  const { rows } = await world.controlPlane.raw<{ rows: unknown[] }>(
    `select w.template, w.record_version as version, w.generation, (select array_agg(o.type || ' ' || (o.body ->> 'record_version') || ' ' || (o.body ->> 'origin') order by o.id) from waybill_outbox o where o.key = w.workspace_id::text) as events,
       (select count(*) from waybill_run_changes c where c.run_id = ? and c.workspace_id = w.workspace_id) as changes
     from unnest(?::uuid[]) with ordinality as asked(workspace_id, n) join waybill_workspaces w using (workspace_id) order by n`, [run.runId, [...ids]],
  );
  const items = await loadItems(world.world.database, run.runId);
  const { state, ok, failed, skipped } = await loadRun(world.world.database, run.runId);
  return { rows, items: items.map(({ line, state, code }) => [line, state, code]), run: { state, ok, failed, skipped } };
}

describe('a backfill that is killed', () => {
  test('D5, I16: at any step, and resumed, leaves what an uninterrupted run leaves; no workspace is written twice', async () => {
    const whole = await fleet(4);
    const uninterrupted = await apply(whole.run).ended;
    expect(uninterrupted.end).toBe(0);
    const reference = await left(whole.run, whole.ids);
    const passed = Map.groupBy(uninterrupted.trace, (step) => step);
    expect([...passed.keys()].toSorted()).toEqual(runStepNames.filter((step) => step.startsWith('backfill:') || step.startsWith('run:')).toSorted());
    // All of them in test/large; here the three that lie around the two commits.
    const points = [
      { step: 'backfill:change:commit', nth: 2, signal: 'SIGKILL' }, { step: 'backfill:change:committed', nth: 3, signal: 'SIGKILL' }, { step: 'run:piece:commit', nth: 1, signal: 'SIGKILL' },
    ] as const;
    for (const point of points) {
      const { run, ids } = await fleet(4);
      expect((await apply(run, point).ended).end, point.step).toBe('SIGKILL');
      await expireLease(run);
      expect((await resume(run).ended).end, point.step).toBe(0);
      expect(await left(run, ids), `killed at ${point.step} #${String(point.nth)}`).toEqual(reference);
    }
  }, 120_000);
});

describe('a lease (D7)', () => {
  test('two processes never run the same run: the second is refused with exit 6', async () => {
    const { run } = await fleet(40, 1);
    const first = apply(run);
    await expect.poll(() => first.trace(), { timeout: 20_000, interval: 20 }).toContain('run:leased');
    const second = await apply(run).ended;
    expect([second.end, JSON.parse(second.err)]).toMatchObject([6, { error: { code: 'RUN_LEASED' } }]);
    first.signal('SIGINT');
    expect((await first.ended).end).toBe(130);
  });

  test('I16: a holder that was frozen is stopped before its next write, also in the database of the records', async () => {
    const { run, ids } = await fleet(4);
    const frozen = apply(run, { step: 'backfill:change:committed', nth: 2, signal: 'SIGSTOP' });
    await expect.poll(() => frozen.trace().filter((step) => step === 'backfill:change:committed'), { timeout: 20_000, interval: 20 }).toHaveLength(2);
    await expireLease(run);
    expect((await resume(run).ended).end).toBe(0);
    const after = await left(run, ids);
    frozen.signal('SIGCONT');
    expect((await frozen.ended).end).toBe(6);
    expect(await left(run, ids)).toEqual(after);
    expect(after).toMatchObject({ run: { state: 'done', ok: 4 }, rows: ids.map(() => ({ template: 'seo-agent', version: 3, changes: 1 })) });
  });
});

describe('an operator (D7)', () => {
  test('Ctrl-C pauses a run with exit 130 and says how it goes on', async () => {
    const { run } = await fleet(8, 3);
    const running = startCommand(['backfill', 'apply', run.runId, '--reason', 'a test'], world.environment());
    await expect.poll(() => running.trace(), { timeout: 20_000, interval: 20 }).toContain('run:piece:committed');
    running.signal('SIGINT');
    const { end, out, err } = await running.ended;
    expect(end).toBe(130);
    expect(out).toContain(`resume with: waybill backfill resume ${run.runId}`);
    expect(err).toMatch(/^\d\/8 \d+\.\d % · .*\/s · ok \d failed 0 · lag age \d+ s · ETA /mu);
    expect(await loadRun(world.world.database, run.runId)).toMatchObject({ state: 'paused', holder: null });
    expect((await resume(run).ended).end).toBe(0);
  });

  test('pauses, tunes and aborts a run that goes on elsewhere, each with its reason on record', async () => {
    const { run, ids } = await fleet(8, 1);
    const driven = applyFleet(world.deps, run.runId, world.options());
    await expect.poll(async () => (await loadRun(world.world.database, run.runId)).holder, { timeout: 10_000, interval: 20 }).toBe('test');
    await setControls(world.world.database, run.runId, { rate: 4 }, 'quicker');
    await stopRun(world.world.database, run.runId, 'pause', 'lunch');
    expect(await driven).toMatchObject({ state: 'paused' });
    await stopRun(world.world.database, run.runId, 'abort', 'wrong list');
    await expect(applyFleet(world.deps, run.runId, world.options())).rejects.toMatchObject({ code: 'STALE_VERSION' });
    const { rows } = await world.world.database.raw<{ rows: { action: string; reason: string }[] }>(`select action, detail ->> 'reason' as reason from audit where subject_kind = 'run' and subject_id = ? order by id`, [run.runId]);
    expect(rows.slice(-3)).toEqual([{ action: 'backfill set', reason: 'quicker' }, { action: 'backfill pause', reason: 'lunch' }, { action: 'backfill abort', reason: 'wrong list' }]);
    expect((await world.records()).filter(({ id, template }) => ids.includes(id) && template === null).length).toBeGreaterThan(0);
  });

  test('sees why a run waits: live traffic that is late, and the cap of restarts', async () => {
    const { run } = await fleet(3);
    await setControls(world.world.database, run.runId, { restartsPerHour: 2 }, 'a test');
    // An event of the control plane that nobody has published for a minute.
    const late = await world.workspace();
    await world.controlPlane.raw(`update waybill_outbox set created_at = clock_timestamp() - interval '1 minute' where key = ?`, [late]);
    const driven = applyFleet(world.deps, run.runId, world.options({ measuring: { database: world.world.database, controlPlane: world.controlPlane } }));
    const throttled = async (): Promise<string | null> => (await loadRun(world.world.database, run.runId)).throttled;
    await expect.poll(throttled, { timeout: 10_000, interval: 20 }).toMatch(/^live lag \d+ s > 10 s$/u);
    expect((await loadRun(world.world.database, run.runId)).ok).toBe(0);
    await world.relay();
    await expect.poll(throttled, { timeout: 10_000, interval: 20 }).toBe('restart cap 2/h');
    await setControls(world.world.database, run.runId, { restartsPerHour: 100 }, 'enough for today');
    await world.relay();
    const keep = setInterval(() => { void world.relay(); }, 200);
    try {
      expect(await driven).toMatchObject({ state: 'done', run: { ok: 3 } });
    } finally {
      clearInterval(keep);
    }
  });
});

test('D5, D7: users who set templates while a backfill runs are never overwritten, and are counted', async () => {
  const { run, ids } = await fleet(12, 40);
  const driven = applyFleet(world.deps, run.runId, world.options());
  const chosen = ids.filter((_, i) => i % 3 === 2);
  for (const id of chosen.toReversed()) await world.setByHand(id, 'support-agent').catch(() => undefined);
  const { run: done } = await driven;
  const items = await loadItems(world.world.database, run.runId);
  const byId = new Map((await world.records()).map((record) => [record.id, record.template]));
  for (const item of items) {
    // Before us it is theirs; after us they changed it, and it is theirs again.
    if (item.state === 'skipped') expect([item.code, byId.get(item.subject)]).toEqual(['SET_BY_HAND', 'support-agent']);
    else expect([item.state, byId.get(item.subject)]).toEqual(['ok', chosen.includes(item.subject) ? 'support-agent' : 'seo-agent']);
  }
  expect(done.ok + done.skipped).toBe(12);
  expect(done.skipped).toBeGreaterThan(0);
});
