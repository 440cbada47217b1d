import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { workspaceText } from '../../cli/explain/workspace-text.ts';
import { Output } from '../../cli/output.ts';
import type { DeliveryDeps } from '../../delivery/attempt.ts';
import { deliver } from '../../delivery/worker.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { explain, type EventExplanation, type WorkspaceExplanation } from '../../explain/explain.ts';
import type { ProducerOutbox } from '../../explain/find-event.ts';
import { appendDeadLetters } from '../../consumers/dead-letters.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import { tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { silentLogger } from '../../process/log.ts';
import { changeTemplate, provisionWorkspace, type RecordResult } from '../../producers/control-plane.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { DeliveryWorld, writeFiles } from '../support/delivery-world.ts';
import { openProducers } from '../support/producer-databases.ts';

/** `explain` over reasons that were made for real: files in the way, altered bytes, lines that ended, workers that are silent (E3). */
const seo = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n' };
const voice = { 'rules/voice.md': 'Be brief.\n' };

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', seo, { access: 'open' });
  await world.publish('support-agent', '1.0.0', { ...seo, 'docs/help.md': 'Help.\n' }, { access: 'open' });
  await world.publish('sold-agent', '1.0.0', seo);
});
afterAll(async () => { await world.close(); });

const output = new Output({ out: { write: () => undefined }, err: { write: () => undefined } }, { json: false });

/** As a relay would leave the outbox: what was said is published. */
const publishAll = async (): Promise<void> => {
  await world.database.raw('update waybill_outbox set sent_at = clock_timestamp(), sent_partition = 0, sent_offset = id where sent_at is null');
};

async function ask(workspace: string, at?: Date): Promise<WorkspaceExplanation> {
  const told = await tx(world.database, async (trx) => await explain(trx, workspace, { at, producers: [], decisionsMax: 40 }));
  if (told.kind !== 'workspace') throw new Error(`${workspace} is a ${told.kind}`);
  // What a person sees has the code, the rules and the way out.
  const text = workspaceText(told, 4, output);
  expect(text).toContain(told.reason.text);
  expect(text).toContain(told.reason.rules[0]);
  return told;
}

const now = async (): Promise<Date> => (await world.database.raw<{ rows: [{ now: Date }] }>('select clock_timestamp() as now')).rows[0].now;

/** A workspace that asks for something and was delivered to once. */
async function delivered(change: Parameters<DeliveryWorld['record']>[1], deps: DeliveryDeps = world.deps, prepare: (volume: string) => void = () => undefined): Promise<string> {
  await world.settle();
  const workspace = randomUUID();
  await world.record(workspace, change);
  prepare(world.volume(workspace));
  await deliverOnce(workspace, deps);
  await publishAll();
  return workspace;
}

/** One attempt for this workspace; what else is due meanwhile, such as a conflict that is looked at again, goes its way. */
async function deliverOnce(workspace: string, deps: DeliveryDeps): Promise<void> {
  for (;;) {
    const claimed = await world.claim();
    if (claimed === undefined) throw new Error('nothing was due');
    const isIts = claimed.workspaceId === workspace;
    await deliver(isIts ? deps : world.deps, claimed, 60_000, silentLogger);
    if (isIts) return;
  }
}

async function line(item: string, validity: { valid_from?: number; valid_until?: number | null }): Promise<void> {
  const event = parseEvent('Purchase', {
    event_id: randomUUID(), occurred_at: 0, caused_by: null, run_id: null, org_id: world.org, item_id: item, purchase_id: 'p-time', entitlement_version: 1,
    source: 'subscription', policy: 'stable', valid_from: 0, valid_until: null, ...validity,
  });
  await tx(world.database, async (trx) => { await applyEntitlementBatch(trx, [event]); });
}

describe('why a box is not ready (E3)', () => {
  test('NOT_ENTITLED: never bought; then which line begins when; then that it expired', async () => {
    world.org = randomUUID();
    const workspace = await delivered({ template: 'sold-agent' });
    expect((await ask(workspace)).reason).toMatchObject({ state: 'refused', code: 'NOT_ENTITLED', rules: ['A1', 'A7', 'A8'], text: expect.stringContaining('never bought') as string });
    await line('sold-agent', { valid_from: Date.UTC(2199, 0, 1) });
    await world.settle();
    expect((await ask(workspace)).reason).toMatchObject({ text: 'sold-agent: its line p-time begins at 2199-01-01T00:00:00.000Z.', cure: expect.stringContaining('by itself') as string });

    world.org = randomUUID();
    await line('sold-agent', { valid_until: 1_000 });
    const late = await delivered({ template: 'sold-agent' });
    expect((await ask(late)).reason).toMatchObject({ code: 'NOT_ENTITLED', text: 'sold-agent: its last line, p-time, ended at 1970-01-01T00:00:01.000Z (expired).', cure: expect.stringContaining('Renew') as string });
  });

  test('NOT_ENTITLED after a refund names the purchase; before its boot it waits for the restart (C13)', async () => {
    world.org = randomUUID();
    await world.publish('refunded-agent', '1.0.0', seo);
    await world.line('refunded-agent');
    const workspace = await world.online('refunded-agent');
    await world.line('refunded-agent', 'refund');
    await world.settle();
    await publishAll();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'restart', rules: ['C11', 'I25'], text: expect.stringContaining('p-1, ended at') as string, cure: expect.stringContaining('trigger epoch') as string });
    await world.record(workspace, { boot: true });
    await world.settle();
    await publishAll();
    const told = await ask(workspace);
    expect(told.reason).toMatchObject({ state: 'refused', code: 'NOT_ENTITLED', text: expect.stringContaining('(refund)') as string, cure: expect.stringContaining('new purchase id') as string });
    expect(told.decisions.map(({ subject, action }) => `${subject.split(' ')[0] ?? ''} ${action}`)).toEqual(expect.arrayContaining(['line Purchase', 'line Revoke', 'workspace plan', 'workspace deliver', 'item set channel', 'release approve']));
    expect(told.decisions.every(({ rules }) => rules.length > 0)).toBe(true);
  });

  test('a line that expired while the agent runs goes at the next boot (C13)', async () => {
    await world.publish('short-agent', '1.0.0', seo);
    await world.line('short-agent');
    const workspace = await world.online('short-agent');
    await world.line('short-agent', 'non_payment');
    await world.settle();
    await publishAll();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'restart', rules: ['C13'], text: expect.stringMatching(/goes at the next boot\. short-agent: its last line, p-1, .*\(non_payment\)/u) as string });
  });

  test('TEMPLATE_UNKNOWN, RUNTIME_MISMATCH, SELLER_NOT_ENABLED and RELEASE_NOT_APPROVED each say what they are about', async () => {
    await world.publish('foreign-agent', '1.0.0', seo, { access: 'open', seller: 'acme' });
    await world.publish('yanked-agent', '1.0.0', seo, { access: 'open' });
    await world.decide('yanked-agent', '1.0.0', 'yanked');
    const cases: [string, Parameters<DeliveryWorld['record']>[1], string][] = [
      ['TEMPLATE_UNKNOWN', { template: 'nobodys-agent' }, 'nobodys-agent: it is not in the catalogue.'],
      ['RUNTIME_MISMATCH', { template: 'seo-agent', runtime: 'hermes' }, 'seo-agent: it supports claude-code, not the runtime hermes.'],
      ['SELLER_NOT_ENABLED', { template: 'foreign-agent' }, 'foreign-agent: it is of the seller acme, and items of third-party sellers are switched off.'],
      ['RELEASE_NOT_APPROVED', { template: 'yanked-agent' }, 'yanked-agent: release 1.0.0, where the channel stable leads, was yanked, and this workspace does not hold it.'],
    ];
    for (const [code, change, text] of cases) {
      const { reason } = await ask(await delivered(change));
      expect(reason).toMatchObject({ state: 'refused', code, text });
      expect(reason.cure).not.toBeNull();
    }
  });

  test('every item that is withheld has its own reason, not the first alone', async () => {
    await world.publish('brand-voice', '1.0.0', voice, { kind: 'plugin' });
    const told = await ask(await delivered({ template: 'sold-agent', plugins: ['brand-voice', 'nobodys-plugin'] }));
    expect(told.withheld.map(({ itemId, code }) => `${itemId} ${code}`)).toEqual(['sold-agent NOT_ENTITLED', 'brand-voice NOT_ENTITLED', 'nobodys-plugin TEMPLATE_UNKNOWN']);
    expect(workspaceText(told, 4, output)).toContain('also TEMPLATE_UNKNOWN  nobodys-plugin: it is not in the catalogue. (B1, I12)');
  });

  test('CONFLICT names the file that is in the way (C8)', async () => {
    const workspace = await delivered({ template: 'seo-agent' }, world.deps, (volume) => { writeFiles(volume, { 'configs/system-prompt.md': 'Mine.\n' }); });
    expect((await ask(workspace)).reason).toMatchObject({ code: 'CONFLICT', rules: ['C8', 'C9'], text: expect.stringMatching(/file of the user stands at configs\/system-prompt\.md/u) as string, cure: expect.stringContaining('Move that file away') as string });
  });

  test('INTEGRITY_FAILED, TOO_LARGE and UNAVAILABLE say what failed, and when the next try is', async () => {
    const { fetcher } = world.deps;
    const altered: DeliveryDeps = { ...world.deps, fetcher: { get: async (request) => {
      const answer = await fetcher.get(request);
      answer.body[10] = (answer.body[10] ?? 0) ^ 1;
      return answer;
    } } };
    const away: DeliveryDeps = { ...world.deps, fetcher: { get: async () => await Promise.reject(new Failure('dependency', 'UNAVAILABLE', 'http://store:9000/: ECONNREFUSED')) } };
    const small: DeliveryDeps = { ...world.deps, limits: { ...world.deps.limits, archiveBytesMax: 100 } };
    for (const [code, deps, text] of [['INTEGRITY_FAILED', altered, 'has not the registered digest'], ['TOO_LARGE', small, '100'], ['UNAVAILABLE', away, 'ECONNREFUSED']] as const) {
      const workspace = await delivered({ template: 'seo-agent' }, deps);
      const { reason } = await ask(workspace);
      expect(reason).toMatchObject({ state: 'waiting', code, text: expect.stringContaining(text) as string });
      expect(reason.text).toMatch(/Try 2 is due (?:now|in \d\.\d s)\.$/u);
      await world.database('pending').where({ workspace_id: workspace }).delete();
    }
  });

  test('a volume that an attempt cannot trust has the way out of its own message, not that of its code', async () => {
    const workspace = await delivered({ template: 'seo-agent' }, world.deps, (volume) => { mkdirSync(join(volume, '.waybill/attempts/999999999999'), { recursive: true }); });
    expect((await ask(workspace)).reason).toMatchObject({ code: 'UNSUPPORTED_VOLUME', cure: 'Remove the folder that the message names; delivery is retried by itself.' });
    rmSync(join(world.volume(workspace), '.waybill'), { recursive: true });
  });

  test('VOLUME_FULL and VOLUME_UNWRITABLE, as the volume says them', async () => {
    const full: DeliveryDeps = { ...world.deps, volumes: { ...world.deps.volumes, inspect: async () => await Promise.reject(new Failure('subject', 'VOLUME_FULL', 'write on the volume was refused with ENOSPC: it has no room left')) } };
    expect((await ask(await delivered({ template: 'seo-agent' }, full))).reason).toMatchObject({ code: 'VOLUME_FULL', text: expect.stringContaining('ENOSPC') as string, cure: expect.stringContaining('Free space') as string });
    const gone = await delivered({ template: 'seo-agent' }, world.deps, (volume) => { rmSync(volume, { recursive: true }); });
    expect((await ask(gone)).reason).toMatchObject({ code: 'VOLUME_UNWRITABLE', text: expect.stringContaining('is not there') as string });
    await world.database('pending').delete();
  });

  test('settle window, cap on restarts, then the boot that has to come (C11)', async () => {
    const windowed = { ...world.deps, options: { ...world.deps.options, settleWindowMs: 3_600_000 } };
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed);
    await publishAll();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'restart', text: expect.stringContaining('settle window') as string });
    await world.wait(workspace);
    await world.database.raw(`update deliveries set restarts_asked = array(select clock_timestamp() - n * interval '1 minute' from generate_series(3, 1, -1) n) where workspace_id = ?`, [workspace]);
    await world.settle();
    expect((await ask(workspace)).reason.text).toContain('3 restarts were asked for in the last hour');
    await world.wait(workspace);
    await world.settle();
    await publishAll();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'restart', text: 'A change is staged and a restart was asked for; it goes live in the next epoch.' });
    await world.record(workspace, { boot: true });
    await world.settle();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'waiting', text: 'AssetsReady stands in the outbox and is not published yet.' });
    await publishAll();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'ready', rules: ['C9', 'C10', 'C11'] });
  });

  test('due with no worker, claimed by another, whose worker fell silent, woken in pages, paused, removed', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    expect((await ask(workspace)).reason).toMatchObject({ state: 'waiting', cure: expect.stringContaining('--role deliveries') as string });
    const claimed = await world.claim();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'working', text: expect.stringContaining(`Attempt ${String(claimed?.attempt)} is at work`) as string });
    await world.wait(workspace);
    expect(await world.die({ when: 'after', call: 'survey' })).toBe(true);
    expect((await ask(workspace)).reason.text).toMatch(/no worker has taken it\. The worker of attempt \d+ fell silent\./u);
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await publishAll();
    await world.database('fanouts').insert({ item_id: 'seo-agent', lane: 'live' });
    expect((await ask(workspace)).reason.text).toContain('seo-agent has changed, and its holders are woken in pages');
    await world.settle();
    for (const status of ['paused', 'hibernated'] as const) {
      await world.record(workspace, { status });
      await world.settle();
      expect((await ask(workspace)).reason).toMatchObject({ state: 'waiting', text: `It is ${status}; files change only at a boot.` });
    }
    await world.record(workspace, { status: 'removed' });
    await world.settle();
    expect((await ask(workspace)).reason).toMatchObject({ state: 'idle', text: 'It was removed; its record stays as a tombstone.' });
  });
});

describe('as of a past time (E3)', () => {
  test('the record, the lines, what was held, said and decided then, and what is not kept', async () => {
    world.org = randomUUID();
    await world.publish('past-agent', '1.0.0', seo);
    const before = await now();
    await world.line('past-agent');
    const workspace = await world.online('past-agent');
    await publishAll();
    const held = await now();
    await world.line('past-agent', 'refund');
    await world.settle();
    const asked = await now();
    await world.record(workspace, { boot: true });
    await world.settle();
    await publishAll();
    await world.line('past-agent', undefined, 'p-2');
    await world.settle();

    expect((await ask(workspace, before)).reason).toMatchObject({ state: 'unknown', text: 'No event of this workspace had arrived.' });
    const then = await ask(workspace, held);
    expect(then).toMatchObject({
      record: { status: 'online', epoch: 1, template: 'past-agent', runtime: 'claude-code', origin: 'user' },
      delivery: { present: { items: [{ itemId: 'past-agent', version: '1.0.0' }] }, staged: null, announced: { kind: 'ready', epoch: 1 } },
      entitlements: [{ entitled: true, lines: [{ purchaseId: 'p-1', ended: false, reason: null }] }],
      reason: { state: 'ready', text: 'It holds exactly what it should hold.' },
    });
    expect(then.past?.notKept.join()).toContain('what was due');
    expect(then.decisions.every(({ at }) => at <= held)).toBe(true);
    expect(await ask(workspace, asked)).toMatchObject({
      delivery: { present: { items: [{ itemId: 'past-agent' }] }, staged: { setDigest: expect.any(String) as string } },
      entitlements: [{ entitled: false, lines: [{ endedAt: expect.any(Number) as number, reason: 'refund' }] }],
      reason: { state: 'restart', text: expect.stringContaining('(refund)') as string },
    });
    expect((await ask(workspace)).delivery?.present?.items).toEqual([expect.objectContaining({ itemId: 'past-agent' })]);
  });

  test('a line, as it was and as it is', async () => {
    world.org = randomUUID();
    await world.line('sold-agent');
    const live = await now();
    await world.line('sold-agent', 'fraud');
    const about = async (at?: Date) => await tx(world.database, async (trx) => await explain(trx, `${world.org}/sold-agent/p-1`, { at, producers: [], decisionsMax: 10 }));
    expect(await about(live)).toMatchObject({ kind: 'entitlement', entitled: true, notKept: [], reason: { state: 'ready', text: expect.stringContaining('release 1.0.0') as string } });
    expect(await about()).toMatchObject({ entitled: false, ended: 'fraud', reason: { code: 'NOT_ENTITLED', rules: ['A1', 'A7', 'A8'] }, decisions: expect.arrayContaining([expect.objectContaining({ action: 'Revoke', rules: ['A1', 'A3'] })]) as unknown[] });
    await expect(about(new Date(0))).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('At 1970') as string });
  });
});

describe('what became of an event (E3, I4)', () => {
  let controlPlane: Database;
  beforeAll(async () => { controlPlane = await openProducers(world.isolated.databaseUrl, 'control_plane'); });
  afterAll(async () => { await controlPlane.destroy(); });

  const about = async (eventId: string): Promise<EventExplanation> => {
    const producers: ProducerOutbox[] = [{ owner: 'control-plane', database: controlPlane }];
    const told = await tx(world.database, async (trx) => await explain(trx, eventId, { producers, decisionsMax: 10 }));
    if (told.kind !== 'event') throw new Error(`${eventId} is a ${told.kind}`);
    return told;
  };

  test('in the outbox, published, read, applied, superseded, twice, dead: each is told apart', async () => {
    const catalogue = { findItem: async () => await Promise.resolve({ kind: 'template' as const, runtimes: ['claude-code'] }) };
    const workspace_id = randomUUID();
    const mint = async (work: (trx: Transaction) => Promise<RecordResult>): Promise<string> => (await tx(controlPlane, work)).event?.event.event_id ?? '';
    const first = await mint(async (trx) => await provisionWorkspace(trx, catalogue, { workspace_id, org_id: world.org, runtime: 'claude-code', template: 'seo-agent', plugins: [], delivery_mode: 'volume' }));
    const second = await mint(async (trx) => await changeTemplate(trx, catalogue, { workspace_id, template: 'support-agent' }));
    expect((await about(first)).reason).toMatchObject({ state: 'unpublished', rules: ['A4'], text: 'It stands in the outbox of control-plane and is not published yet.' });

    await controlPlane.raw('update waybill_outbox set sent_at = clock_timestamp(), sent_partition = 2, sent_offset = id');
    expect((await about(first)).reason).toMatchObject({ state: 'unread', text: expect.stringContaining('no consumer has read that partition') as string });
    await world.database('consumer_offsets').insert({ consumer: 'workspaces', topic: 'some-prefix.controlplane.workspaces', partition: 2, position: 0, cluster_id: 'c' });
    expect((await about(first)).reason.text).toContain('the consumer workspaces reads 0 next');

    const { rows: [row] } = await controlPlane.raw<{ rows: [{ body: Record<string, unknown> }] }>('select body from waybill_outbox where event_id = ?', [second]);
    await tx(world.database, async (trx) => { await foldRecords(trx, [parseEvent('TemplateChanged', row.body)]); });
    await world.database('consumer_offsets').update({ position: 100 });
    expect(await about(second)).toMatchObject({ currentOf: [`workspace ${workspace_id}`], reason: { state: 'applied' }, decisions: [{ action: 'TemplateChanged', rules: ['A3'] }] });
    expect((await about(first)).reason).toMatchObject({ state: 'superseded', rules: ['A3', 'I2'], text: expect.stringContaining('its version 1 is below the 2 that stands') as string });

    const twice = randomUUID();
    await controlPlane.raw(`insert into waybill_outbox (event_id, topic, key, type, body, sent_at, sent_partition, sent_offset)
      select ?, topic, key, type, jsonb_set(body::jsonb, '{event_id}', to_jsonb(?::text))::json, sent_at, 2, 50 from waybill_outbox where event_id = ?`, [twice, twice, second]);
    expect((await about(twice)).reason).toMatchObject({ state: 'duplicate' });

    const dead = randomUUID();
    await tx(world.database, async (trx) => {
      const place = { consumer: 'workspaces', topic: 'some-prefix.controlplane.workspaces', partition: 2, clusterId: 'c' };
      const record = { offset: 9, key: Buffer.from('k'), value: Buffer.from('x'), headers: [['event-id', Buffer.from(dead)] as const] };
      await appendDeadLetters(trx, place, [{ record, refusal: new Failure('poison', 'BAD_MAGIC', 'The value begins with the byte 120.') }]);
    });
    expect((await about(dead)).reason).toMatchObject({ state: 'dead-lettered', code: 'BAD_MAGIC', rules: ['E4', 'I17'], cure: expect.stringMatching(/dead-letters redrive \d+/u) as string });

    world.adopt(workspace_id);
    await world.settle();
    const [said] = await world.said(workspace_id);
    expect((await about(String(said?.body['event_id']))).reason.state).toBe('unpublished');
    expect((await about(second)).caused.map(({ type }) => type)).toContain('AssetsReady');
    await publishAll();
    expect((await about(String(said?.body['event_id']))).reason.state).toBe('published');
    await expect(about(randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('waybill, control-plane') as string });
  });
});
