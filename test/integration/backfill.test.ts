import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { recordBaseline } from '../../catalogue/baselines.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { applyCanary, applyFleet } from '../../replay/backfill/apply-backfill.ts';
import { parseMapping, parseWorkspaceList } from '../../replay/backfill/backfill-input.ts';
import { planBackfill, type TagPlan } from '../../replay/backfill/plan-backfill.ts';
import { reportBackfill } from '../../replay/backfill/report-backfill.ts';
import { applyRollback, planRollback } from '../../replay/backfill/rollback.ts';
import { verifyRun } from '../../replay/backfill/verify-backfill.ts';
import { loadItems, loadRun, type Run } from '../../replay/run/runs.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';
import { BackfillWorld, newSeo, oldSeo } from '../support/backfill-world.ts';

let world: BackfillWorld;
beforeAll(async () => { world = await BackfillWorld.open(); });
afterAll(async () => { await world.close(); });
beforeEach(async () => { await world.relay(); });

const reason = 'a test';
const plan = async (ids: readonly string[], more: { item?: string } = {}): Promise<Run> =>
  await planBackfill(world.deps, { listed: parseWorkspaceList(ids.join('\n')), item: 'seo-agent', reason, ...more });
/** Tags a canary, boots it and verifies it. */
const canary = async (run: Run, id: string): Promise<void> => {
  await applyCanary(world.deps, run.runId, id, world.options());
  await world.flow();
  await world.boot(id);
  await verifyRun(world.deps, run.runId, reason);
};
const templates = async (ids: readonly string[]): Promise<(string | null)[]> => {
  const byId = new Map((await world.records()).map(({ id, template }) => [id, template]));
  return ids.map((id) => byId.get(id) ?? null);
};
const codesOf = async (run: Run): Promise<(string | null)[]> => (await loadItems(world.world.database, run.runId)).map(({ state, code }) => code ?? state);

describe('a plan', () => {
  test('D3: refuses prefixes, names, patterns, unknown ids and two items for one workspace, each with its line, before anything is written', async () => {
    const id = await world.workspace();
    const before = [await world.records(), await world.published()];
    const list = parseWorkspaceList([`${id},seo-agent`, id.slice(0, 8), 'seo-*', `${id},support-agent`, randomUUID(), id.toUpperCase()].join('\n'));
    const refused = await planBackfill(world.deps, { listed: list, reason }).catch((error: unknown) => String(error));
    for (const line of [2, 3, 4, 5, 6]) expect(refused).toContain(`line ${String(line)}:`);
    expect(refused).not.toContain('line 1:');
    await expect(plan([id], { item: 'seo' })).rejects.toMatchObject({ code: 'FIELD_INVALID', message: expect.stringContaining('line 1: workspace ' + id + ': TEMPLATE_UNKNOWN') as string });
    await expect(plan([id], { item: 'seo-agent%' })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    expect([await world.records(), await world.published()]).toEqual(before);
    expect(await world.world.database('runs').count()).toEqual([{ count: 0 }]);
  });

  test('D3: says what stands in each workspace now, what would be adopted and what is the user\'s, and changes nothing', async () => {
    const [clean, edited, chosen, foreign, empty] = [
      await world.workspace({ ...oldSeo, 'skills/audit/SKILL.md': 'mine' }), await world.workspace({ ...oldSeo, 'system-prompt.md': 'My own prompt.\n' }),
      await world.workspace(), await world.workspace(oldSeo, { org: randomUUID() }), await world.workspace({}),
    ];
    await world.setByHand(chosen, 'support-agent');
    const before = [await world.records(), await world.published()];
    const run = await plan([clean, edited, chosen, foreign, empty]);
    const items = await loadItems(world.world.database, run.runId);
    expect(items.map(({ state, code }) => [state, code])).toEqual([
      ['planned', null], ['skipped', 'CONFLICT'], ['skipped', 'SET_BY_HAND'], ['skipped', 'NOT_ENTITLED'], ['planned', null],
    ]);
    expect(items[0]?.plan).toMatchObject({ files: { absent: 0, adopted: 2, same: 0, users: 1, usersPaths: ['configs/skills/audit/SKILL.md'] } });
    expect(items.map((item) => (item.plan as TagPlan).verdict)).toEqual(['agrees', 'users', null, null, 'absent']);
    expect([await world.records(), await world.published()]).toEqual(before);
  });

  test('D3: refuses the whole list where the identity that is present is another template\'s, or the runtime\'s own', async () => {
    await recordBaseline(world.world.database, { runtime: parseRuntimeId('claude-code'), reason, files: [{ path: 'system-prompt.md', sha256: sha256('You are helpful.\n') }] });
    const [good, support, plain] = [await world.workspace(), await world.workspace({ 'system-prompt.md': 'You support.\n' }), await world.workspace({ 'system-prompt.md': 'You are helpful.\n' })];
    await expect(plan([good, support, plain])).rejects.toMatchObject({
      code: 'IDENTITY_MISMATCH', message: expect.stringMatching(/line 2: .*support-agent at configs\/system-prompt.md(?:.|\n)*line 3: .*the runtime's own/u) as string,
    });
    expect(await templates([good, support, plain])).toEqual([null, null, null]);
  });

  test('D3: a recorded mapping goes by exact names, checked against the catalogue', async () => {
    const [one, two] = [await world.workspace(), await world.workspace()];
    const mapping = parseMapping('entry,item\nseo,seo-agent\nhelp,support-agent\n');
    const run = await planBackfill(world.deps, { listed: parseWorkspaceList(`workspace_id,entry\n${one},seo\n${two},seo`), mapping, reason });
    expect(await codesOf(run)).toEqual(['planned', 'planned']);
    await expect(planBackfill(world.deps, { listed: parseWorkspaceList(`${one},seo-agent`), mapping, reason })).rejects.toThrow('entry should be one that the mapping has');
    await expect(planBackfill(world.deps, { mapping: parseMapping('runtime,item\nclaude-code,nothing\n'), reason })).rejects.toThrow('TEMPLATE_UNKNOWN');
    await expect(planBackfill(world.deps, { mapping: parseMapping('runtime,item\nclaude-code,seo-agent\nclaude-code,support-agent\n'), reason })).rejects.toThrow('line 3');
  });
});

describe('a backfill', () => {
  test('D4, D5, D7, I16: canary first, then the fleet; every workspace once; nothing the second time; the counts add up', async () => {
    const ids = await Promise.all(Array.from({ length: 6 }, async () => await world.workspace()));
    const [first = '', taken = '', ...rest] = ids;
    const never = await world.workspace();
    const run = await plan(ids);
    await expect(applyFleet(world.deps, run.runId, world.options())).rejects.toMatchObject({ code: 'CANARY_MISSING' });
    await expect(applyCanary(world.deps, run.runId, never, world.options())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(applyCanary(world.deps, run.runId, first.slice(0, 8), world.options())).rejects.toThrow('a full lower-case UUID');

    expect(await applyCanary(world.deps, run.runId, first, world.options())).toMatchObject({ state: 'paused', run: { ok: 1 } });
    expect(await templates(ids)).toEqual(['seo-agent', null, null, null, null, null]);
    // Tagged is not verified: its agent still runs with what it had.
    await world.flow();
    expect((await verifyRun(world.deps, run.runId, reason)).counts).toMatchObject({ waiting: 1, ready: 0 });
    await expect(applyFleet(world.deps, run.runId, world.options())).rejects.toMatchObject({ code: 'CANARY_MISSING' });
    await world.boot(first);
    expect((await verifyRun(world.deps, run.runId, reason)).counts).toMatchObject({ waiting: 0, ready: 1 });
    expect(world.world.files(first)).toMatchObject({ 'configs/system-prompt.md': newSeo['system-prompt.md'], 'configs/notes.md': oldSeo['notes.md'] });

    await world.setByHand(taken, 'support-agent');
    const done = await applyFleet(world.deps, run.runId, world.options());
    expect(done).toMatchObject({ state: 'done', run: { total: 6, ok: 5, failed: 0, skipped: 1 } });
    expect(await templates([taken, ...rest, never])).toEqual(['support-agent', ...rest.map(() => 'seo-agent'), null]);
    await world.flow();
    await world.boot(...rest);
    expect(await reportBackfill(world.world.database, run.runId)).toEqual({ total: 6, tagged: 5, alreadySet: 0, left: 0, skipped: { SET_BY_HAND: 1 }, failed: {}, ready: 5 });
    expect((await verifyRun(world.deps, run.runId, reason)).counts).toMatchObject({ ready: 5, 'mis-tagged': 0 });

    // I16: the same list again is no work: not a write, not an event.
    const before = [await world.records(), await world.published()];
    await expect(applyFleet(world.deps, run.runId, world.options())).rejects.toMatchObject({ code: 'STALE_VERSION' });
    expect(await codesOf(await plan(ids))).toEqual(['already', 'SET_BY_HAND', 'already', 'already', 'already', 'already']);
    expect([await world.records(), await world.published()]).toEqual(before);
    // I15: a workspace that was not in the list has no delivery row.
    expect(await world.world.database('deliveries').where({ workspace_id: never })).toEqual([]);
    const { rows: audited } = await world.world.database.raw<{ rows: { action: string; detail: { reason?: string } }[] }>(
      `select action, detail from audit where subject_kind = 'run' and subject_id = ? order by id`, [run.runId],
    );
    expect(audited.map(({ action }) => action)).toEqual(['backfill plan', 'backfill verify', 'backfill verify', 'backfill verify']);
    expect(audited.every(({ detail }) => detail.reason === reason)).toBe(true);
  });

  test('D3: what changed between plan and write is left alone: files, catalogue, a stored plan', async () => {
    const [first, moved, fine] = [await world.workspace(), await world.workspace(), await world.workspace()];
    const run = await plan([first, moved, fine]);
    await canary(run, first);
    writeFileSync(join(world.world.volume(moved), 'configs/system-prompt.md'), 'Edited after the plan.\n');
    expect(await applyFleet(world.deps, run.runId, world.options())).toMatchObject({ run: { ok: 2, skipped: 1 } });
    expect(await codesOf(run)).toEqual(['ok', 'IDENTITY_CHANGED', 'ok']);
    expect(await templates([moved])).toEqual([null]);

    const later = await plan([moved, await world.workspace()]);
    await world.world.database('run_items').where({ run_id: later.runId, line: 2 }).update({ plan: JSON.stringify({ item: 'support-agent' }) });
    await expect(applyFleet(world.deps, later.runId, world.options())).rejects.toMatchObject({ code: 'PLAN_CHANGED' });

    const stale = await plan([await world.workspace(), await world.workspace()]);
    await canary(stale, (await loadItems(world.world.database, stale.runId))[0]?.subject ?? '');
    await world.world.publish('seo-agent', '1.1.0', { ...newSeo, 'system-prompt.md': 'You are the SEO agent, 1.1.\n' });
    await expect(applyFleet(world.deps, stale.runId, world.options())).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
  });

  test('D3: a mis-tag is found: an identity that turns out to be another\'s, and a change without a plan', async () => {
    const [first, wrong] = [await world.workspace({}), await world.workspace({})];
    for (const id of [first, wrong]) {
      mkdirSync(join(world.world.volume(id), 'configs'), { recursive: true });
      writeFileSync(join(world.world.volume(id), 'configs/config.yaml'), 'agent: {name: seo}\n');
    }
    const run = await plan([first, wrong]);
    await canary(run, first);
    await applyFleet(world.deps, run.runId, world.options());
    expect((await verifyRun(world.deps, run.runId, reason)).counts['mis-tagged']).toBe(0);
    // What stood there before is learned to have been the other template's.
    await world.world.database('baseline_items').where({ path: 'config.yaml', item_id: 'seo-agent' }).update({ item_id: 'support-agent' });
    const found = await verifyRun(world.deps, run.runId, reason);
    expect(found.counts['mis-tagged']).toBe(2);
    expect(await world.world.database('audit').where({ subject_id: run.runId, outcome: 'mis-tagged' }).count()).toEqual([{ count: 1 }]);
    await world.world.database('baseline_items').where({ path: 'config.yaml', item_id: 'support-agent' }).update({ item_id: parseItemId('seo-agent') });
  });
});

describe('taking it back', () => {
  test('D6, I16: rollback reverts what is still ours, reports the rest, and our files go', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, async () => await world.workspace()));
    const [first = '', changed = '', setAgain = '', plain = ''] = ids;
    const run = await plan(ids);
    await canary(run, first);
    await applyFleet(world.deps, run.runId, world.options());
    await world.flow();
    await world.boot(changed, setAgain, plain);
    await world.setByHand(changed, 'support-agent');
    // The same value, but somebody's own choice by now.
    await world.setByHand(setAgain, null);
    await world.setByHand(setAgain, 'seo-agent');
    const back = await planRollback(world.deps, run.runId, reason);
    expect(back).toMatchObject({ kind: 'rollback', total: 4, skipped: 2 });
    expect(await templates(ids)).toEqual(['seo-agent', 'support-agent', 'seo-agent', 'seo-agent']);
    expect(await applyRollback(world.deps, back.runId, world.options())).toMatchObject({ state: 'done', run: { ok: 2, skipped: 2 } });
    expect(await templates(ids)).toEqual([null, 'support-agent', 'seo-agent', null]);
    await world.flow();
    await world.boot(first, plain);
    expect(Object.keys(world.world.files(plain))).toEqual(['configs/notes.md']);
    // Once more changes nothing.
    const before = await world.published();
    const again = await planRollback(world.deps, run.runId, reason);
    expect(again.total - again.skipped).toBe(0);
    await applyRollback(world.deps, again.runId, world.options());
    expect(await world.published()).toBe(before);
    expect((await loadRun(world.world.database, back.runId)).state).toBe('done');
  });
});
