import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { BoxReport } from '../../delivery/box/judge-report.ts';
import { grantToBox } from '../../delivery/box/fetches.ts';
import { reportBox } from '../../delivery/box/report.ts';
import { claim } from '../../process/pending.ts';
import { parseSha256, parseVersion } from '../../schemas/ids.ts';
import { DeliveryWorld, type RecordChange } from '../support/delivery-world.ts';
import { TestBox } from '../support/test-box.ts';

const seo1 = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.2\n' };
const seo2 = { ...seo1, 'system-prompt.md': 'You improve search rankings, carefully.\n', 'skills/links.md': 'Links.\n' };
const voice = { 'rules/voice.md': 'Be brief.\n' };
const under = (root: string, files: Record<string, string>) => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${root}/${path}`, text]));

let world: DeliveryWorld;

beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', seo1);
  await world.publish('brand-voice', '1.0.0', voice, { kind: 'plugin' });
  await world.line('seo-agent');
  await world.line('brand-voice');
});
afterAll(async () => { await world.close(); });

async function provision(change: RecordChange): Promise<TestBox> {
  const workspace = randomUUID();
  await world.record(workspace, { delivery_mode: 'box', ...change });
  return TestBox.open(world, workspace);
}

async function boot(box: TestBox): Promise<void> {
  await world.record(box.workspaceId, { boot: true });
  box.epoch += 1;
}

/** A box that has booted with a template of its own and is online. */
async function online(item: string, files: Record<string, string> = seo1): Promise<TestBox> {
  await world.publish(item, '1.0.0', files);
  await world.line(item);
  const box = await provision({ template: item });
  expect(await box.rounds()).toEqual(['boot: ready']);
  await world.record(box.workspaceId, { status: 'online' });
  expect(await box.rounds()).toEqual([]);
  return box;
}

const types = async (box: TestBox): Promise<string[]> => (await world.said(box.workspaceId)).map((said) => said.type);

describe('a box that boots', () => {
  test('C9, C10, I7: delivers to itself, and AssetsReady says exactly what', async () => {
    const box = await provision({ template: 'seo-agent', plugins: ['brand-voice'] });
    expect(await box.rounds()).toEqual(['boot: ready']);
    expect(world.files(box.workspaceId)).toEqual({ ...under('configs', seo1), ...under('plugins/brand-voice', voice) });
    expect(world.residue(box.workspaceId)).toEqual([]);
    expect(await world.said(box.workspaceId)).toMatchObject([{
      type: 'AssetsReady', body: { epoch: 1, template: 'seo-agent', items: [{ item_id: 'brand-voice' }, { item_id: 'seo-agent' }], probe_paths: ['configs/config.yaml', 'configs/system-prompt.md'] },
    }]);
    expect(await world.database('pending').where({ workspace_id: box.workspaceId })).toEqual([]);
  });

  test('is nothing that a worker may claim', async () => {
    const box = await provision({ template: 'seo-agent' });
    expect((await claim(world.database, 100, 0)).filter((one) => one.workspaceId === box.workspaceId)).toEqual([]);
    expect(await box.rounds()).toEqual(['boot: ready']);
  });

  test('C8, C9: with a file of the user at a probe path is rejected as a conflict', async () => {
    const box = await provision({ template: 'seo-agent' });
    mkdirSync(join(box.volume, 'configs'));
    writeFileSync(join(box.volume, 'configs/config.yaml'), 'mine\n');
    const answer = await box.ask();
    expect(await box.carryOut(answer ?? expect.fail('no answer'))).toMatchObject({ result: 'rejected', code: 'CONFLICT' });
    expect(world.files(box.workspaceId)).toMatchObject({ 'configs/config.yaml': 'mine\n' });
    expect(await types(box)).toEqual(['AssetsRejected']);
  });

  test('C6: without a template or plugin is told that there is nothing, and leaves no row', async () => {
    const box = await provision({});
    expect(await box.ask()).toMatchObject({ act: 'none', lastWord: null });
    expect(await world.database('deliveries').where({ workspace_id: box.workspaceId })).toEqual([]);
  });

  test('C12: before its purchase waits, and hears of the purchase within a second or so', async () => {
    await world.publish('late-agent', '1.0.0', seo1);
    const box = await provision({ template: 'late-agent' });
    expect(await box.ask()).toMatchObject({ act: 'none', code: 'NOT_ENTITLED' });
    const startedAt = performance.now();
    const waiting = box.ask(20_000);
    await world.line('late-agent');
    const answer = await waiting;
    expect(answer).toMatchObject({ act: 'boot' });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(await box.carryOut(answer ?? expect.fail('no answer'))).toMatchObject({ result: 'ready' });
  });

  test('a long poll in which nothing changes is answered with nothing', async () => {
    const box = await provision({ template: 'seo-agent' });
    expect(await box.rounds()).toEqual(['boot: ready']);
    expect(await box.ask(300)).toBeUndefined();
  });

  test('I24: a second question ends the attempt of the first, whose permit and report are refused', async () => {
    const box = await provision({ template: 'seo-agent' });
    const first = await box.ask() ?? expect.fail('no answer');
    const second = await box.ask() ?? expect.fail('no answer');
    expect(second.plan?.attempt).toBeGreaterThan(first.plan?.attempt ?? 0);
    expect((await box.carryOut(second)).result).toBe('ready');
    expect(world.files(box.workspaceId)).toEqual(under('configs', seo1));
    expect((await box.carryOut(first)).result).toBe('superseded');
  });
});

describe('a report', () => {
  test('C9, I7: of other digests than the plan\'s is refused, put on record, and nothing becomes ready', async () => {
    const box = await provision({ template: 'seo-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const forged = box.carryOut(answer, { report: (report) => ({ ...report, files: report.files.map((file) => ({ ...file, sha256: parseSha256('f'.repeat(64)) })) }) });
    await expect(forged).rejects.toMatchObject({ code: 'REPORT_REFUSED' });
    expect(await types(box)).toEqual([]);
    expect(await world.database('audit').where({ subject_id: box.workspaceId, action: 'report' })).toMatchObject([{ outcome: 'deny', code: 'REPORT_REFUSED' }]);
    expect(await box.rounds()).toEqual(['boot: ready']);
  });

  test('that leaves a file out, or names another or a foreign folder, is refused', async () => {
    const box = await provision({ template: 'seo-agent' });
    const forgeries: ((report: BoxReport) => BoxReport)[] = [
      (report) => ({ ...report, files: report.files.slice(1) }),
      (report) => ({ ...report, files: [...report.files, { path: 'configs/other', sha256: null }] }),
      (report) => ({ ...report, directories: [...report.directories, 'home'] }),
    ];
    for (const forge of forgeries) {
      const answer = await box.ask() ?? expect.fail('no answer');
      await expect(box.carryOut(answer, { report: forge })).rejects.toMatchObject({ code: 'REPORT_REFUSED' });
    }
  });

  test('I6: that is sent twice is recorded once, and answered the same', async () => {
    const box = await provision({ template: 'seo-agent' });
    let sent: BoxReport | undefined;
    const answer = await box.ask() ?? expect.fail('no answer');
    const first = await box.carryOut(answer, { report: (report) => { sent = report; return report; } });
    const again = await reportBox(box.deps, box.caller, sent ?? expect.fail('no report'));
    expect(again.result).toBe(first.result);
    expect(await types(box)).toEqual(['AssetsReady']);
  });

  test('of a failure makes the workspace due again, and says what lasts', async () => {
    const box = await provision({ template: 'seo-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const failed = { attempt: answer.plan?.attempt ?? 0, files: [], kept: [], removed: [], directories: [], rescued: { returned: [], kept: [] }, failed: { code: 'UNSUPPORTED_VOLUME' as const, path: null } };
    expect(await reportBox(box.deps, box.caller, failed)).toMatchObject({ result: 'failed', code: 'UNSUPPORTED_VOLUME' });
    expect(await world.said(box.workspaceId)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'UNSUPPORTED_VOLUME' } }]);
    expect(await world.database('pending').where({ workspace_id: box.workspaceId }).first()).toMatchObject({ tries: 1, taker: 'box' });
  });

  test('is refused when the permit has run out, and taken after another', async () => {
    const box = await provision({ template: 'seo-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const late = await box.carryOut(answer, { permitted: async () => { await world.database.raw(`update attempts set permit_until = clock_timestamp() - interval '1 second' where workspace_id = ?`, [box.workspaceId]); } });
    expect(late.result).toBe('permit_expired');
    expect(await types(box)).toEqual([]);
    expect(await box.rounds()).toEqual(['boot: ready']);
  });
});

describe('a change', () => {
  test('C11: is staged while the box is online, asks for a restart, and goes live at the boot out of the staged tree', async () => {
    const box = await online('staged-agent');
    await world.publish('staged-agent', '2.0.0', seo2);
    await world.settle();
    expect(await box.rounds()).toEqual(['stage: staged']);
    expect(world.files(box.workspaceId)).toEqual(under('configs', seo1));
    expect(await types(box)).toEqual(['AssetsReady', 'RestartRequested']);
    await boot(box);
    let fetched = 0;
    expect(await box.rounds({ fetched: async () => { await Promise.resolve(); fetched += 1; } })).toEqual(['boot: ready']);
    expect(fetched).toBe(0);
    expect(world.files(box.workspaceId)).toEqual(under('configs', seo2));
    // The replaced copy waits for the next fence, and not for ever: what may no longer be held goes at once (I9).
    expect(world.residue(box.workspaceId)).toHaveLength(1);
    await world.decide('staged-agent', '1.0.0', 'quarantined');
    await world.settle();
    expect(await box.rounds()).toEqual(['discard: discarded']);
    expect(world.residue(box.workspaceId)).toEqual([]);
  });

  test('C9: a file that is missing while it is online is drift, and is mended by a restart', async () => {
    const box = await online('drift-agent');
    rmSync(join(box.volume, 'configs/config.yaml'));
    await world.record(box.workspaceId, { status: 'paused' });
    await box.rounds();
    await world.record(box.workspaceId, { status: 'online' });
    expect(await box.rounds()).toEqual(['probe: drift', 'stage: staged']);
    await boot(box);
    expect(await box.rounds()).toEqual(['boot: ready']);
    expect(world.files(box.workspaceId)).toEqual(under('configs', seo1));
  });
});

describe('a revocation', () => {
  test('C13: for fraud is pending until the box has taken the files away, altered ones too, and then removed', async () => {
    const box = await online('fraud-agent');
    writeFileSync(join(box.volume, 'configs/config.yaml'), 'altered\n');
    await world.line('fraud-agent', 'fraud');
    const answer = await box.ask() ?? expect.fail('no answer');
    expect(answer).toMatchObject({ act: 'remove', removal: ['configs/config.yaml', 'configs/system-prompt.md'], denied: ['configs/config.yaml', 'configs/system-prompt.md'] });
    const pending = (await world.said(box.workspaceId)).at(-1);
    expect(pending).toMatchObject({ type: 'AssetsRevoked', body: { reason: 'fraud', effect: 'removal_pending' } });
    expect((await box.carryOut(answer)).result).toBe('removed');
    expect(world.files(box.workspaceId)).toEqual({});
    expect((await world.said(box.workspaceId)).slice(2)).toMatchObject([{ type: 'AssetsRevoked', body: { effect: 'removed' } }, { type: 'RestartRequested' }]);
  });

  test('A8, C13: between staging and permit is obeyed, and nothing becomes visible', async () => {
    await world.publish('gone-agent', '1.0.0', seo1);
    await world.line('gone-agent');
    const box = await provision({ template: 'gone-agent' });
    expect(await box.rounds({ staged: async () => { await world.line('gone-agent', 'refund'); } })).toEqual(['boot: replan']);
    expect(world.files(box.workspaceId)).toEqual({});
    expect(world.residue(box.workspaceId)).toEqual([]);
    expect(await types(box)).toEqual(['AssetsRejected']);
  });

  test('I10: while a release is fetched or opened is obeyed at the permit', async () => {
    await world.publish('midway-agent', '1.0.0', seo1);
    await world.line('midway-agent');
    const box = await provision({ template: 'midway-agent' });
    expect(await box.rounds({ fetched: async () => { await world.line('midway-agent', 'refund'); } })).toEqual(['boot: replan']);
    expect(world.files(box.workspaceId)).toEqual({});
  });
});

describe('a grant', () => {
  test('I20, E2: leaves the intent of its decrypt before and the outcome after, and nothing secret anywhere', async () => {
    const box = await provision({ template: 'seo-agent' });
    const secrets: string[] = [];
    await box.rounds({ fetched: async (grants) => { await Promise.resolve(); for (const grant of grants) secrets.push(grant.url, grant.dataKey); } });
    secrets.push(...box.keys.flatMap((key) => [key.toString('base64'), key.toString('base64url'), key.toString('hex')]));
    expect(secrets.length).toBeGreaterThan(4);
    const rows = await world.database('audit').where({ subject_id: box.workspaceId }).orderBy('id') as { action: string; outcome: string; detail: { intent?: string } }[];
    const decrypts = rows.filter((row) => row.action === 'decrypt');
    expect(decrypts.map((row) => row.outcome)).toEqual(['intent', 'opened']);
    expect(decrypts[0]?.detail.intent).toBe(decrypts[1]?.detail.intent);
    const { rows: [dump] } = await world.database.raw<{ rows: { text: string }[] }>(
      `select (select string_agg(a::text, ' ') from audit a) || (select string_agg(a::text, ' ') from attempts a) || (select string_agg(o::text, ' ') from waybill_outbox o)
         || (select string_agg(d::text, ' ') from deliveries d) as text`,
    );
    for (const secret of secrets) expect(dump?.text).not.toContain(secret);
  });

  test('C4: is for the key that the token names, for releases of the plan, and for its own attempt alone', async () => {
    const box = await provision({ template: 'seo-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const attempt = answer.plan?.attempt ?? 0;
    const [release] = answer.plan?.releases ?? [];
    if (release === undefined) expect.fail('no release');
    const ask = async (change: Partial<Parameters<typeof grantToBox>[2]>, caller = box.caller) => await grantToBox(box.deps, caller, { attempt, releases: [release], encryptionKey: box.encryptionKey, ...change });
    const other = await provision({ template: 'seo-agent' });
    await expect(ask({ encryptionKey: other.encryptionKey })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    await expect(ask({ releases: [{ itemId: release.itemId, version: parseVersion('9.9.9') }] })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    await expect(ask({}, { ...box.caller, epoch: 0 })).rejects.toMatchObject({ code: 'STALE_VERSION' });
    expect(await ask({}, { ...other.caller, encryptionKeyThumbprint: box.caller.encryptionKeyThumbprint })).toBe('superseded');
  });

  test('C3, I21: lives no longer than the entitlement, by the database\'s clock', async () => {
    await world.publish('short-agent', '1.0.0', seo1);
    await world.line('short-agent');
    const box = await provision({ template: 'short-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const request = { attempt: answer.plan?.attempt ?? 0, releases: answer.plan?.releases ?? [], encryptionKey: box.encryptionKey };
    await world.database.raw(`update entitlement_lines set valid_until = clock_timestamp() + interval '20 seconds' where item_id = 'short-agent'`);
    const granted = await grantToBox(box.deps, box.caller, request);
    if (typeof granted === 'string') expect.fail(granted);
    expect(granted.items[0]?.expiresInMs).toBeLessThanOrEqual(20_000);
    await world.database.raw(`update entitlement_lines set valid_until = clock_timestamp() - interval '1 second' where item_id = 'short-agent'`);
    expect(await grantToBox(box.deps, box.caller, request)).toBe('replan');
    expect(await world.database('audit').where({ subject_id: box.workspaceId, action: 'grant', outcome: 'deny' })).toHaveLength(1);
  });

  test('I23: has a budget for each attempt', async () => {
    const box = await provision({ template: 'seo-agent' });
    const answer = await box.ask() ?? expect.fail('no answer');
    const request = { attempt: answer.plan?.attempt ?? 0, releases: answer.plan?.releases ?? [], encryptionKey: box.encryptionKey };
    await world.database.raw('update attempts set grants = 31 where attempt = ?', [request.attempt]);
    expect(await grantToBox(box.deps, box.caller, request)).toMatchObject({ items: [{}] });
    await expect(grantToBox(box.deps, box.caller, request)).rejects.toMatchObject({ code: 'GRANT_BUDGET' });
  });

  test('I20: of a worker leaves the same two rows', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    const rows = await world.database('audit').where({ subject_id: workspace, action: 'decrypt' }).orderBy('id');
    expect(rows).toMatchObject([{ outcome: 'intent' }, { outcome: 'opened' }]);
  });
});
