import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import knex from 'knex';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { installBilling, purchase, revoke, type LineResult, type RevokeInput } from '../../producers/billing.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import {
  changePlugins, changeStatus, changeTemplate, installControlPlane, provisionWorkspace, recordAssets, recordAssetsReady, startEpoch, type ChangeOptions, type RecordResult,
} from '../../producers/control-plane.ts';
import { appendBytes, appendEvents, decodeHeaders } from '../../producers/outbox.ts';
import { tx, type Database, type Transaction } from '../../process/database.ts';
import { rollback } from '../../process/migrate.ts';
import type { Failure } from '../../process/failure.ts';
import type { AssetsEvent } from '../../producers/client.ts';
import type { AssetsReady, AssetsRevoked } from '../../schemas/generated/events.ts';
import { deriveEventId, longMax, parseItemId, parseOrgId, parseRuntimeId, parseSellerId, parseSha256, parseWorkspaceId } from '../../schemas/ids.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { openCatalogue, openProducers, readOutbox } from '../support/producer-databases.ts';

const org = '00000000-0000-4000-8000-00000000000a';
const noon = Date.UTC(2026, 0, 1, 12);
const terms = { source: 'purchase', policy: 'stable', valid_from: noon, valid_until: null } as const;
const line = { org_id: org, item_id: 'seo-agent', purchase_id: 'p-1' };

let isolated: Isolated;
let database: Database;
let catalogue: CatalogueLookup;
const open: Database[] = [];
let workspaces = 0;
const newWorkspaceId = (): string => `00000000-0000-4000-8000-${String((workspaces += 1)).padStart(12, '0')}`;

const inTx = async <T>(work: (trx: Transaction) => Promise<T>): Promise<T> => await tx(database, work);
const provision = async (input: Partial<Parameters<typeof provisionWorkspace>[2]> = {}, options?: ChangeOptions): Promise<RecordResult> =>
  await inTx(async (trx) => await provisionWorkspace(trx, catalogue, { workspace_id: newWorkspaceId(), org_id: org, runtime: 'claude-code', ...input }, options));

const ready = (fields: Partial<AssetsReady> & { workspace_id: AssetsReady['workspace_id'] }): AssetsReady => ({
  event_id: deriveEventId('AssetsReady', fields.workspace_id, fields.assets_version ?? 1), occurred_at: noon, caused_by: null, run_id: null,
  org_id: parseOrgId(org), assets_version: 1, epoch: 1, generation: 1, set_digest: parseSha256('0'.repeat(64)), template: null, items: [], withheld: [],
  probe_paths: [], user_files_count: 0, user_files_sha256: null, user_files_paths: [], ...fields,
});

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(() => 'accepted', (error: Failure) => `${error.kind} ${error.code}`);

beforeAll(async () => {
  isolated = await isolate();
  database = await openProducers(isolated.databaseUrl, 'producers');
  const opened = await openCatalogue(isolated.databaseUrl, 'pipeline');
  catalogue = opened.catalogue;
  open.push(database, opened.database);
});

afterAll(async () => {
  await Promise.all(open.map(async (one) => { await one.destroy(); }));
  await isolated.drop();
});

describe('the control plane', () => {
  test('each change mints the versions that it should and appends the whole record (A3, A5)', async () => {
    const { record } = await provision();
    const { workspace_id } = record;
    const changes = await inTx(async (trx) => [
      await changeTemplate(trx, catalogue, { workspace_id, template: 'seo-agent' }),
      await changePlugins(trx, catalogue, { workspace_id, plugins: ['spell-check', 'house-rules', 'spell-check'] }),
      await changeStatus(trx, { workspace_id, status: 'paused' }),
      await startEpoch(trx, catalogue, { workspace_id }),
      await startEpoch(trx, catalogue, { workspace_id, runtime: 'codex' }),
    ].map((result) => [result.event?.type, result.record.record_version, result.record.generation, result.record.epoch, result.record.status, result.needsRestart]));
    expect(record).toMatchObject({ record_version: 1, generation: 1, epoch: 1, status: 'provisioning', template: null, plugins: [], delivery_mode: 'volume' });
    expect(changes).toEqual([
      ['TemplateChanged', 2, 2, 1, 'provisioning', false],
      ['PluginsChanged', 3, 3, 1, 'provisioning', false],
      ['WorkspaceStatusChanged', 4, 3, 1, 'paused', true],
      ['WorkspaceProvisioned', 5, 3, 2, 'provisioning', false],
      ['WorkspaceProvisioned', 6, 4, 3, 'provisioning', false],
    ]);
    const appended = (await readOutbox(database)).filter(({ key }) => key === workspace_id);
    expect(appended.map(({ body }) => body['record_version'])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(appended[2]).toMatchObject({
      topic: 'controlplane.workspaces',
      event_id: deriveEventId('PluginsChanged', workspace_id, 3),
      body: { workspace_id, org_id: org, runtime: 'claude-code', template: 'seo-agent', plugins: ['house-rules', 'spell-check'], origin: 'user', caused_by: null, run_id: null },
    });
  });

  test('a change that changes nothing mints nothing and says so, also while its restart is still due', async () => {
    const { record: { workspace_id } } = await provision({ template: 'seo-agent', plugins: ['house-rules'] });
    await inTx(async (trx) => { await changeStatus(trx, { workspace_id, status: 'paused' }); });
    const before = await readOutbox(database);
    const same = await inTx(async (trx) => [
      await provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'claude-code', template: 'seo-agent', plugins: ['house-rules'] }),
      await changeTemplate(trx, catalogue, { workspace_id, template: 'seo-agent' }),
      await changePlugins(trx, catalogue, { workspace_id, plugins: ['house-rules'] }),
      await changeStatus(trx, { workspace_id, status: 'paused' }),
    ]);
    expect(same.map(({ outcome, event, needsRestart, record }) => [outcome, event, needsRestart, record.record_version]))
      .toEqual(Array.from({ length: 4 }, () => ['unchanged', undefined, true, 2]));
    expect(await readOutbox(database)).toEqual(before);
  });

  test('online is refused until AssetsReady of this epoch and generation was recorded (C11)', async () => {
    const { record } = await provision({ template: 'seo-agent' });
    const workspace_id = parseWorkspaceId(record.workspace_id);
    const online = async (): Promise<string> => await codeOf(inTx(async (trx) => await changeStatus(trx, { workspace_id, status: 'online' })));
    const record_ = async (fields: Partial<AssetsReady>): Promise<boolean> => await inTx(async (trx) => await recordAssetsReady(trx, ready({ workspace_id, ...fields })));
    expect(await online()).toBe('input MISSING_ASSETS');
    expect(await record_({ assets_version: 2, epoch: 1, generation: 2 })).toBe(true);
    expect(await online()).toBe('input MISSING_ASSETS');
    expect(await record_({ assets_version: 3 })).toBe(true);
    expect(await record_({ assets_version: 2, epoch: 1, generation: 2 })).toBe(false);
    expect(await online()).toBe('accepted');
    const changed = await inTx(async (trx) => await changeTemplate(trx, catalogue, { workspace_id, template: null }));
    expect(changed).toMatchObject({ outcome: 'minted', needsRestart: true, record: { status: 'online', template: null } });
    await inTx(async (trx) => { await startEpoch(trx, catalogue, { workspace_id }); });
    // It had a template once, so it waits with none, too (C6).
    expect(await online()).toBe('input MISSING_ASSETS');
  });

  test('online is refused after AssetsReady was taken back, until the next one, in whatever order their events come (C11, C13)', async () => {
    const { record } = await provision({ template: 'seo-agent' });
    const workspace_id = parseWorkspaceId(record.workspace_id);
    const online = async (): Promise<string> => await codeOf(inTx(async (trx) => {
      await changeStatus(trx, { workspace_id, status: 'online' });
      await changeStatus(trx, { workspace_id, status: 'paused' });
    }));
    const about = { ...ready({ workspace_id }), workspace_id };
    const say = async (said: AssetsEvent): Promise<boolean> => await inTx(async (trx) => await recordAssets(trx, said));
    const revoked = (effect: AssetsRevoked['effect'], assets_version: number): AssetsEvent =>
      ({ type: 'AssetsRevoked', event: { ...about, assets_version, items: [], reason: 'malware', effect } });
    const ready_ = (assets_version: number): AssetsEvent => ({ type: 'AssetsReady', event: { ...about, assets_version } });
    expect(await say(ready_(1))).toBe(true);
    expect(await say(revoked('next_boot', 2))).toBe(false);
    expect(await online()).toBe('accepted');
    expect(await say(revoked('removed', 3))).toBe(true);
    expect(await online()).toBe('input MISSING_ASSETS');
    expect(await say(ready_(2))).toBe(false);
    expect(await online()).toBe('input MISSING_ASSETS');
    expect(await say(ready_(4))).toBe(true);
    expect(await online()).toBe('accepted');
    expect(await say(revoked('removed', 3))).toBe(false);
    expect(await online()).toBe('accepted');
    expect(await say({ type: 'AssetsRejected', event: { ...about, assets_version: 5, item_id: null, code: 'CONFLICT', attempts: 1 } })).toBe(true);
    expect(await online()).toBe('input MISSING_ASSETS');
  });

  test('a workspace that never had a template or a plugin goes online without AssetsReady (C6)', async () => {
    const { record: { workspace_id } } = await provision();
    const result = await inTx(async (trx) => await changeStatus(trx, { workspace_id, status: 'online' }));
    expect(result).toMatchObject({ outcome: 'minted', needsRestart: false });
  });

  test('a repeated RestartRequested starts one epoch', async () => {
    const { record: { workspace_id } } = await provision();
    const epochs = await inTx(async (trx) => [
      await startEpoch(trx, catalogue, { workspace_id, ends_epoch: 1 }), await startEpoch(trx, catalogue, { workspace_id, ends_epoch: 1 }),
    ].map(({ outcome, record }) => [outcome, record.epoch]));
    expect(epochs).toEqual([['minted', 2], ['unchanged', 2]]);
  });

  test('each refusal has its code, and nothing is written (A5, B1, I12)', async () => {
    const { record: { workspace_id } } = await provision({ template: 'seo-agent' });
    const { record: { workspace_id: gone } } = await provision();
    const { record: { workspace_id: asleep } } = await provision();
    await inTx(async (trx) => {
      await changeStatus(trx, { workspace_id: gone, status: 'removed' });
      await changeStatus(trx, { workspace_id: asleep, status: 'hibernated' });
    });
    const before = await readOutbox(database);
    const other = newWorkspaceId();
    const attempts: readonly (readonly [string, (trx: Transaction) => Promise<unknown>])[] = [
      ['TEMPLATE_UNKNOWN', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: 'no-such-agent' })],
      ['TEMPLATE_UNKNOWN', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: 'house-rules' })],
      ['TEMPLATE_UNKNOWN', (trx) => changePlugins(trx, catalogue, { workspace_id, plugins: ['seo-agent'] })],
      ['FIELD_INVALID', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: '../../etc' })],
      ['FIELD_INVALID', (trx) => changePlugins(trx, catalogue, { workspace_id, plugins: Array.from({ length: 101 }, (_, n) => `plugin-${n}`) })],
      ['RUNTIME_UNKNOWN', (trx) => provisionWorkspace(trx, catalogue, { workspace_id: other, org_id: org, runtime: 'seo-agent' })],
      ['RUNTIME_MISMATCH', (trx) => provisionWorkspace(trx, catalogue, { workspace_id: other, org_id: org, runtime: 'hermes', template: 'seo-agent' })],
      ['RUNTIME_MISMATCH', (trx) => startEpoch(trx, catalogue, { workspace_id, runtime: 'langgraph' })],
      ['STALE_VERSION', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: null }, { ifVersion: 7 })],
      ['STALE_VERSION', (trx) => provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'codex' })],
      ['STALE_VERSION', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: null }, { versions: { recordVersion: 1 } })],
      ['STALE_VERSION', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: null }, { versions: { generation: 1 } })],
      ['FIELD_INVALID', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: null }, { versions: { epoch: 2 } })],
      ['LONG_OVERFLOW', (trx) => changeTemplate(trx, catalogue, { workspace_id, template: null }, { versions: { recordVersion: longMax + 1 } })],
      ['NOT_FOUND', (trx) => changeTemplate(trx, catalogue, { workspace_id: other, template: null })],
      ['FIELD_INVALID', (trx) => changeTemplate(trx, catalogue, { workspace_id: workspace_id.slice(0, 8), template: null })],
      ['REMOVED', (trx) => changeTemplate(trx, catalogue, { workspace_id: gone, template: 'seo-agent' })],
      ['REMOVED', (trx) => startEpoch(trx, catalogue, { workspace_id: gone })],
      ['REMOVED', (trx) => provisionWorkspace(trx, catalogue, { workspace_id: gone, org_id: org, runtime: 'claude-code' })],
      ['FIELD_INVALID', (trx) => changeStatus(trx, { workspace_id: asleep, status: 'online' })],
      // @ts-expect-error a new boot is startEpoch
      ['FIELD_INVALID', (trx) => changeStatus(trx, { workspace_id, status: 'provisioning' })],
      ['FIELD_INVALID', (trx) => changeStatus(trx, { workspace_id, status: 'paused' }, { causedBy: 'somebody' })],
    ];
    const codes: string[] = [];
    for (const [, attempt] of attempts) codes.push(await codeOf(inTx(attempt)));
    expect(codes).toEqual(attempts.map(([code]) => `input ${code}`));
    expect(await readOutbox(database)).toEqual(before);
  });

  test('a team with versions of its own passes them in, and they have to grow', async () => {
    const { record: { workspace_id } } = await provision({}, { versions: { recordVersion: 40, generation: 7, epoch: 3 } });
    const { record } = await inTx(async (trx) => await changeTemplate(trx, catalogue, { workspace_id, template: 'seo-agent' }, { versions: { recordVersion: 50, generation: 9, epoch: 3 } }));
    expect(record).toMatchObject({ record_version: 50, generation: 9, epoch: 3 });
  });

  test('the cause, the run and the trace context travel with the event', async () => {
    const causedBy = '00000000-0000-4000-8000-0000000000c1';
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { record: { workspace_id } } = await provision({}, { causedBy, runId: causedBy, traceparent, origin: 'import' });
    const appended = (await readOutbox(database)).find(({ key }) => key === workspace_id);
    expect(appended).toMatchObject({ headers: { traceparent }, body: { caused_by: causedBy, run_id: causedBy, origin: 'import' } });
  });
});

describe('billing', () => {
  const buy = async (fields: object = {}, options = {}): Promise<LineResult> => await inTx(async (trx) => await purchase(trx, { ...line, ...terms, ...fields }, options));
  const end = async (fields: Partial<RevokeInput>): Promise<LineResult> => await inTx(async (trx) => await revoke(trx, { ...line, reason: 'refund', ...fields }));

  test('a purchase, its renewal and its refund mint one version each; repeats mint nothing (A5)', async () => {
    const results = [await buy(), await buy(), await buy({ valid_until: noon + 1 }), await end({}), await end({})];
    expect(results.map((result) => [result.outcome, 'event' in result ? result.event.event.entitlement_version : undefined])).toEqual([
      ['minted', 1], ['unchanged', undefined], ['minted', 2], ['minted', 3], ['unchanged', undefined],
    ]);
    const appended = (await readOutbox(database)).filter(({ body }) => body['purchase_id'] === 'p-1');
    expect(appended.map(({ type, topic, key, event_id }) => [type, topic, key, event_id])).toEqual([1, 2, 3].map((version) => {
      const type = version === 3 ? 'Revoke' : 'Purchase';
      return [type, 'marketplace.entitlements', `${org}/seo-agent`, deriveEventId(type, `${org}/seo-agent/p-1`, version)];
    }));
    expect(appended[2]?.body).toMatchObject({ ...line, ...terms, valid_until: noon + 1, reason: 'refund' });
  });

  test('a late purchase after its refund stays revoked, a re-buy is another line (A6, I2)', async () => {
    const purchase_id = 'p-late';
    expect(await codeOf(end({ purchase_id }))).toBe('input NOT_FOUND');
    expect(await end({ purchase_id, terms })).toMatchObject({ outcome: 'minted', event: { type: 'Revoke', event: { entitlement_version: 1 } } });
    expect(await buy({ purchase_id })).toMatchObject({ outcome: 'refused', code: 'REVOKED' });
    expect(await buy({ purchase_id: 'p-again' })).toMatchObject({ outcome: 'minted', line: { entitlement_version: 1 } });
  });

  test('a revoked line takes a severer reason and never a milder one (C13)', async () => {
    const purchase_id = 'p-fraud';
    await buy({ purchase_id });
    const reasons = ['refund', 'fraud', 'operator', 'malware', 'non_payment'] as const;
    const outcomes: unknown[] = [];
    for (const reason of reasons) outcomes.push((await end({ purchase_id, reason })).outcome);
    expect(outcomes).toEqual(['minted', 'minted', 'unchanged', 'minted', 'unchanged']);
  });

  test('each refusal has its code', async () => {
    await buy({ purchase_id: 'p-code' });
    const purchase_id = 'p-code';
    const codes = [
      await codeOf(buy({ org_id: org.toUpperCase() })), await codeOf(buy({ item_id: 'SEO agent' })), await codeOf(buy({ purchase_id: 'a/b' })),
      await codeOf(buy({ policy: '1.x' })), await codeOf(buy({ policy: '1.2' })), await codeOf(buy({ source: 'theft' })), await codeOf(buy({ valid_from: 0.5 })),
      await codeOf(buy({ valid_from: noon, valid_until: noon })), await codeOf(buy({ valid_until: Number.POSITIVE_INFINITY })),
      await codeOf(buy({ purchase_id, policy: 'beta' }, { entitlementVersion: 1 })), await codeOf(buy({ purchase_id, policy: 'beta' }, { entitlementVersion: 2 ** 53 })),
    ];
    expect(codes).toEqual([
      ...Array.from({ length: 8 }, () => 'input FIELD_INVALID'), 'input LONG_OVERFLOW', 'input STALE_VERSION', 'input LONG_OVERFLOW',
    ]);
  });
});

describe('under concurrency', () => {
  test('versions only grow, one event each, in the order of the outbox, whoever races (I2, I5)', async () => {
    const step = fc.record({ who: fc.nat(1), what: fc.constantFrom('provision', 'template', 'plugins', 'epoch', 'buy', 'renew', 'refund'), n: fc.nat(3) });
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 40 }), async (steps) => {
      await database.raw('truncate waybill_outbox');
      const ids = [newWorkspaceId(), newWorkspaceId()];
      await Promise.all(steps.map(async ({ who, what, n }) => {
        const workspace_id = ids[who] ?? '';
        const bought = { org_id: workspace_id, item_id: 'seo-agent', purchase_id: 'p-1', ...terms };
        const work = inTx(async (trx) => {
          switch (what) {
            case 'provision': return await provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'claude-code' });
            case 'template': return await changeTemplate(trx, catalogue, { workspace_id, template: n === 0 ? null : 'seo-agent' });
            case 'plugins': return await changePlugins(trx, catalogue, { workspace_id, plugins: n === 0 ? [] : ['house-rules'] });
            case 'epoch': return await startEpoch(trx, catalogue, { workspace_id });
            case 'refund': return n === 3 ? await revoke(trx, { ...bought, reason: 'refund', terms }) : undefined;
            case 'buy':
            case 'renew': return await purchase(trx, { ...bought, valid_until: what === 'buy' ? null : noon + 1 + n });
          }
        });
        expect(['accepted', 'input NOT_FOUND', 'input STALE_VERSION']).toContain(await codeOf(work));
      }));
      const versions = new Map<string, unknown[]>();
      for (const { key, body } of await readOutbox(database)) {
        versions.set(key, [...(versions.get(key) ?? []), body['record_version'] ?? body['entitlement_version']]);
      }
      for (const minted of versions.values()) expect(minted).toEqual(minted.map((_, i) => i + 1));
    }), { numRuns: 15 });
  });
});

test('the migrations go forward, back and forward again, and one set after the other into the same database', async () => {
  const both = await openProducers(isolated.databaseUrl, 'forward_and_back');
  try {
    const left = async (): Promise<unknown> => (await both.raw<{ rows: unknown[] }>(
      `select relname as name from pg_class where relnamespace = 'forward_and_back'::regnamespace and relname ~ '^waybill_(outbox|outbox_ends|lines|workspaces|schema_ids)$'
       union all select proname from pg_proc where pronamespace = 'forward_and_back'::regnamespace`)).rows;
    const inSet = (set: string): number => readdirSync(new URL(`../../migrations/${set}/`, import.meta.url)).filter((file) => file.endsWith('.up.sql')).length;
    const [outbox, controlPlane, billing] = [inSet('outbox'), inSet('control-plane'), inSet('billing')];
    expect(await rollback(both, ['outbox', 'control-plane', 'billing'])).toHaveLength(outbox + controlPlane + billing);
    expect(await left()).toEqual([]);
    expect([await installControlPlane(both), await installBilling(both), await installBilling(both)]).toMatchObject([{ length: outbox + controlPlane }, { length: billing }, { length: 0 }]);
  } finally {
    await both.destroy();
  }
});

describe('the outbox', () => {
  test('events of a transaction that is rolled back are gone with it (A4, I3)', async () => {
    const workspace_id = newWorkspaceId();
    await expect(inTx(async (trx) => {
      await provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'claude-code' });
      throw new Error('the caller changed its mind');
    })).rejects.toThrow('changed its mind');
    expect((await readOutbox(database)).filter(({ key }) => key === workspace_id)).toEqual([]);
  });

  test('a connection pool in place of a transaction is refused before anything is written (A4)', async () => {
    const before = await readOutbox(database);
    // @ts-expect-error a pool is no transaction
    expect(await codeOf(purchase(database, { ...line, ...terms, purchase_id: 'p-pool' }))).toBe('input FIELD_INVALID');
    expect(await readOutbox(database)).toEqual(before);
  });

  test('thousands of events go in with one statement and stay in order; one bad one keeps all out', async () => {
    await database.raw('truncate waybill_outbox');
    const many = Array.from({ length: 5000 }, (_, n) => ({
      type: 'ItemChanged' as const,
      event: {
        event_id: deriveEventId('ItemChanged', 'seo-agent', n + 1), occurred_at: noon, caused_by: null, run_id: null, item_id: parseItemId('seo-agent'),
        kind: 'template' as const, seller_id: parseSellerId('platform'), access: 'sold' as const, runtimes: [parseRuntimeId('claude-code')], catalogue_version: n + 1,
      },
    }));
    await inTx(async (trx) => { await appendEvents(trx, many, { traceparent: '00-1' }); });
    const appended = await readOutbox(database);
    expect(appended.map(({ body }) => body['catalogue_version'])).toEqual(many.map(({ event }) => event.catalogue_version));
    expect(appended[0]).toMatchObject({ topic: 'waybill.catalogue', key: 'seo-agent', headers: { traceparent: '00-1' } });
    const [first] = many;
    const bad = first && { ...first, event: { ...first.event, catalogue_version: 0 } };
    expect(await codeOf(inTx(async (trx) => { await appendEvents(trx, [...many, ...(bad ? [bad] : [])]); }))).toBe('input FIELD_INVALID');
    expect(await readOutbox(database)).toHaveLength(5000);
  });

  test('takes a row at its limit and refuses one byte more by name, from TypeScript, from SQL and as a table (I22, I23)', async () => {
    await database.raw('truncate waybill_outbox');
    const bytes = async (length: number): Promise<string> => await codeOf(inTx(async (trx) => {
      await appendBytes(trx, [{ topic: 'waybill.dead-letters', key: 'k', value: Buffer.alloc(length), headers: {}, eventId: deriveEventId('DeadLetter', 'k', 1), type: 'DeadLetter' }]);
    }));
    expect([await bytes(4 * 1024 * 1024), await bytes(4 * 1024 * 1024 + 1)]).toEqual(['accepted', 'input EVENT_TOO_LARGE']);

    // Quotes take two bytes in JSON: the only way that a valid event gets this far.
    const event = (padding: number): AssetsReady => ready({
      workspace_id: parseWorkspaceId(newWorkspaceId()), user_files_count: 60, user_files_sha256: parseSha256('0'.repeat(64)),
      user_files_paths: Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0') + 'x'.repeat(Math.min(Math.max(padding - n * 500, 0), 500))),
      probe_paths: Array.from({ length: 1000 }, (_, n) => String(n).padStart(4, '0') + '"'.repeat(508)),
    });
    const fits = 1024 * 1024 - Buffer.byteLength(JSON.stringify(event(0)));
    const appended = async (padding: number): Promise<string> => await codeOf(inTx(async (trx) => { await appendEvents(trx, [{ type: 'AssetsReady', event: event(padding) }]); }));
    expect([await appended(fits), await appended(fits + 1)]).toEqual(['accepted', 'input EVENT_TOO_LARGE']);

    const throughSql = async (length: number): Promise<string> => await database.raw(
      `select waybill_append_event('X', 'waybill.catalogue', 'k', gen_random_uuid(), jsonb_build_object('much', repeat('x', ?)), '{}')`, [length],
    ).then(() => 'accepted', (error: { detail?: string }) => error.detail ?? '');
    const { rows: [row] } = await database.raw<{ rows: { rest: number }[] }>(
      `select 1048576 - octet_length(waybill_append_event('X', 'waybill.catalogue', 'k', gen_random_uuid(), '{"much": ""}', '{}')::text) as rest`,
    );
    expect([await throughSql(row?.rest ?? 0), await throughSql((row?.rest ?? 0) + 1)]).toEqual(['accepted', 'EVENT_TOO_LARGE']);

    const insert = async (column: string, value: string): Promise<string> => await database.raw(
      `insert into waybill_outbox (event_id, topic, key, type, ${column}) values (gen_random_uuid(), 'waybill.catalogue', 'k', 'X', ${value})`,
    ).then(() => 'accepted', (error: { constraint?: string }) => error.constraint ?? '');
    expect([
      await insert('body', `to_json(repeat('x', 1048574))`), await insert('body', `to_json(repeat('x', 1048575))`),
      await insert('value', `convert_to(repeat('x', 4194304), 'UTF8')`), await insert('value', `convert_to(repeat('x', 4194305), 'UTF8')`),
    ]).toEqual(['accepted', 'waybill_outbox_row_bytes', 'accepted', 'waybill_outbox_row_bytes']);
  });

  test('bytes keep their headers, also those that no column could hold', async () => {
    await database.raw('truncate waybill_outbox');
    const headers = { code: 'BAD_MAGIC', odd: Buffer.from([0, 255, 1]), 'na\0me': 'x' };
    await inTx(async (trx) => {
      await appendBytes(trx, [{ topic: 'waybill.dead-letters', key: 'a\0b', value: Buffer.from([7, 0, 9]), headers, eventId: deriveEventId('dead-letter', 'x', 1), type: 'dead-letter' }]);
    });
    const result = await database.raw<{ rows: { key: string; value: Buffer; headers: unknown }[] }>('select key, value, headers from waybill_outbox');
    const [row] = result.rows;
    expect(row?.key).toBe('a\uFFFDb');
    expect(row?.value).toEqual(Buffer.from([7, 0, 9]));
    expect(decodeHeaders(row?.headers)).toEqual({ code: 'BAD_MAGIC', odd: Buffer.from([0, 255, 1]), 'na\uFFFDme': 'x' });
  });

  test('a caller may set up knex as it likes: string bigints, renamed columns, other moments', async () => {
    const upper = (value: unknown): unknown => (typeof value === 'object' && value !== null && 'rows' in value
      ? { ...value, rows: (value.rows as object[]).map((row) => Object.fromEntries(Object.entries(row).map(([name, cell]) => [name.replace(/_(.)/gu, (_, letter: string) => letter.toUpperCase()), cell]))) } : value);
    const theirs = knex({ client: 'pg', connection: isolated.databaseUrl, searchPath: ['producers'], postProcessResponse: upper, wrapIdentifier: (name, quote) => quote(name.toLowerCase()) });
    try {
      const workspace_id = newWorkspaceId();
      const first = await theirs.transaction(async (trx) => await provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'claude-code' }));
      const second = await theirs.transaction(async (trx) => await startEpoch(trx, catalogue, { workspace_id }));
      const bought = await theirs.transaction(async (trx) => await purchase(trx, { ...line, ...terms, purchase_id: 'p-theirs' }));
      expect([first.record.record_version, second.record.record_version, bought]).toMatchObject([1, 2, { outcome: 'minted', line: { valid_from: noon } }]);
    } finally {
      await theirs.destroy();
    }
  });
});
