import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { Scene } from '../../cli/dev/scene.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { settleBatch } from '../../consumers/settle.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { Billing } from '../../examples/billing/billing.ts';
import { ControlPlane } from '../../examples/control-plane/control-plane.ts';
import { openDatabase, tx, type Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { createCodec } from '../../schemas/codec.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { createMemoryRegistry } from '../support/memory-registry.ts';

/** Commands on real services, each the way a person calls it: the whole command line in, exit code and text out. */
let isolated: Isolated;
let database: Database;

beforeAll(async () => {
  isolated = await isolate();
  const environment: Record<string, string> = {
    ...connectionsAsEnvironment(inject('stack')),
    WAYBILL_DATABASE_URL: isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'waybill',
    WAYBILL_CONTROL_PLANE_DATABASE_URL: isolated.databaseUrl, WAYBILL_CONTROL_PLANE_DATABASE_SCHEMA: 'control_plane',
    WAYBILL_BILLING_DATABASE_URL: isolated.databaseUrl, WAYBILL_BILLING_DATABASE_SCHEMA: 'billing',
    WAYBILL_TOPIC_PREFIX: isolated.topicPrefix, WAYBILL_S3_BUCKET: isolated.bucket, WAYBILL_REPLICATION_FACTOR: '1',
    WAYBILL_STATE_DIR: '/nowhere/at/all',
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  for (const owner of ['waybill', 'control-plane', 'billing']) await waybillJson('migrate', '--database', owner);
  database = openDatabase(isolated.databaseUrl, { schema: 'waybill' });
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await database.destroy();
  await isolated.drop();
});

describe('bringing things up', () => {
  test('migrate says what it applied, and nothing the second time', async () => {
    expect((await waybill('migrate')).out).toBe('up to date\n');
    expect(await waybillJson('migrate', '--database', 'billing')).toEqual({ database: 'billing', schema: 'billing', applied: [], roles: [] });
  });

  test('env says that nothing runs which it could tell of', async () => {
    const { code, err } = await waybill('env');
    expect(code).toBe(3);
    expect(err).toContain('NOT_FOUND: no `waybill dev` of this checkout runs');
  });

  test('topics apply creates them all, and changes nothing the second time', async () => {
    const first = await waybillJson<{ name: string; outcome: string }[]>('topics', 'apply');
    expect(first.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 6 }, () => 'created'));
    expect(first.every(({ name }) => name.startsWith(isolated.topicPrefix))).toBe(true);
    const again = await waybill('topics', 'apply');
    expect(again.out.match(/^unchanged/gmu)).toHaveLength(6);
  });

  test('schemas register is safe to repeat', async () => {
    await waybillJson('schemas', 'register');
    const again = await waybillJson<{ outcome: string }[]>('schemas', 'register');
    expect(new Set(again.map(({ outcome }) => outcome))).toEqual(new Set(['unchanged']));
  });

  test('a service that is away is UNAVAILABLE, with exit code 1', async () => {
    vi.stubEnv('WAYBILL_DATABASE_URL', 'postgres://nobody@127.0.0.1:9/nothing');
    try {
      const { code, err } = await waybill('deliveries', 'list');
      expect(code).toBe(1);
      expect(err).toContain('UNAVAILABLE: PostgreSQL');
    } finally {
      vi.stubEnv('WAYBILL_DATABASE_URL', isolated.databaseUrl);
    }
  });
});

describe('publishing', () => {
  const commits: Record<'merged' | 'unmerged', string> = { merged: '', unmerged: '' };
  let repository: string;

  beforeAll(async () => {
    repository = mkdtempSync(join(tmpdir(), 'waybill-cli-'));
    mkdirSync(join(repository, 'agent'), { recursive: true });
    const git = (...args: string[]): string => execFileSync('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@example.org', ...args], { encoding: 'utf8' }).trim();
    git('init', '--quiet', '--initial-branch=main');
    writeFileSync(join(repository, 'agent/system-prompt.md'), 'You help.\n');
    writeFileSync(join(repository, 'agent/config.yaml'), 'agent: { name: helper }\n');
    git('add', '--all');
    git('commit', '--quiet', '--message', 'one');
    commits.merged = git('rev-parse', 'HEAD');
    git('checkout', '--quiet', '-b', 'feature');
    git('commit', '--quiet', '--allow-empty', '--message', 'two');
    commits.unmerged = git('rev-parse', 'HEAD');
    await waybillJson('seller', 'create', 'platform');
    return () => { rmSync(repository, { recursive: true }); };
  });

  const publish = (...more: string[]): string[] =>
    ['publish', '--repo', repository, '--path', 'agent', '--seller', 'platform', '--item', 'helper', '--kind', 'template', '--runtime', 'claude-code', ...more];

  test('seller create keeps the keys of a seller that is there', async () => {
    const again = await waybillJson<{ created: boolean; wrappingKeyId: string }>('seller', 'create', 'platform');
    expect(again.created).toBe(false);
    expect(again.wrappingKeyId).toMatch(/^arn:aws:kms:/u);
  });

  test('publish prints what it did and the digests; approve and channel set make it resolve', async () => {
    const { code, out, err } = await waybill(...publish('--commit', commits.merged, '--version', '1.0.0'));
    expect(code).toBe(0);
    expect(out).toContain('published: helper@1.0.0 (submitted)');
    expect(out).toMatch(/archive {2}[0-9a-f]{64} {2}2 files, \d+ bytes/u);
    expect(out).toContain('waybill release approve helper@1.0.0');
    expect(err).toContain('uploaded releases/platform/helper/1.0.0/');

    expect((await waybill('channel', 'set', 'stable', 'helper@1.0.0', '--reason', 'too early')).err).toContain('RELEASE_NOT_APPROVED');
    expect((await waybill('release', 'approve', 'helper@1.0.0', '--reason', 'read it')).out).toBe('helper@1.0.0 is approved\n');
    expect((await waybill('release', 'approve', 'helper@1.0.0', '--reason', 'read it')).out).toBe('helper@1.0.0 was approved already\n');
    expect((await waybill('channel', 'set', 'stable', 'helper@1.0.0', '--reason', 'first')).out).toBe('stable now leads to helper@1.0.0\n');
  });

  test('the same again changes nothing', async () => {
    expect((await waybill(...publish('--commit', commits.merged, '--version', '1.0.0'))).out).toContain('there already, unchanged: helper@1.0.0 (approved)');
  });

  test.each([
    { pin: () => 'main', why: 'a branch' },
    { pin: () => commits.merged.slice(0, 12), why: 'a short id' },
    { pin: () => commits.unmerged, why: 'a commit that is not merged' },
  ])('$why is no pin (B2)', async ({ pin }) => {
    const { code, err } = await waybill(...publish('--commit', pin(), '--version', '1.0.1'), '--json');
    expect(code).toBe(1);
    expect(JSON.parse(err)).toMatchObject({ error: { code: 'PIN_UNMERGED' } });
  });

  test('an unknown release is nothing that matched: exit code 3', async () => {
    const { code, err } = await waybill('release', 'approve', 'helper@9.9.9', '--reason', 'x');
    expect(code).toBe(3);
    expect(err).toContain('NOT_FOUND');
  });

  test('what is no release is refused before anything is asked', async () => {
    expect((await waybill('release', 'approve', 'helper', '--reason', 'x')).code).toBe(2);
  });
});

describe('acting as billing and as the control plane', () => {
  test('a triggered purchase is minted once, and revoked for ever', async () => {
    const org = randomUUID();
    const key = ['--org', org, '--item', 'helper', '--purchase', 'p-1'];
    const bought = await waybillJson<{ outcome: string; event: string; line: { entitlement_version: number } }>('trigger', 'purchase', ...key, '--from', '2026-01-01T00:00:00Z');
    expect(bought).toMatchObject({ outcome: 'minted', line: { entitlement_version: 1 } });
    expect((await waybill('trigger', 'purchase', ...key, '--from', '2026-01-01T00:00:00Z')).out).toContain('unchanged');
    expect(await waybillJson('trigger', 'revoke', ...key)).toMatchObject({ outcome: 'minted', line: { entitlement_version: 2, reason: 'refund' } });
    const late = await waybill('trigger', 'purchase', ...key);
    expect(late.code).toBe(1);
    expect(late.err).toContain('REVOKED');
  });

  test('a triggered workspace goes through its life, and what the library refuses is refused here', async () => {
    const { record } = await waybillJson<{ record: { workspace_id: string } }>('trigger', 'provision', '--template', 'helper');
    const id = record.workspace_id;
    expect(await waybillJson('trigger', 'template', id, 'none')).toMatchObject({ record: { template: null, generation: 2 } });
    expect(await waybillJson('trigger', 'plugins', id)).toMatchObject({ outcome: 'unchanged' });
    expect(await waybillJson('trigger', 'epoch', id)).toMatchObject({ record: { epoch: 2, status: 'provisioning' } });
    const early = await waybill('trigger', 'status', id, 'online');
    expect(early.err).toContain('MISSING_ASSETS');
    expect(await waybillJson('trigger', 'status', id, 'removed')).toMatchObject({ record: { status: 'removed' } });
    expect((await waybill('trigger', 'template', id, 'helper')).err).toContain('REMOVED');
  });

  test('a purchase that brings nothing to anybody as the catalogue stands is minted, with a warning', async () => {
    const buy = async (...more: string[]): Promise<string> => (await waybill('trigger', 'purchase', '--org', randomUUID(), ...more)).out;
    expect(await buy('--item', 'helpr')).toMatch(/^event .*\n.*\n.*\nWarning: the catalogue has no item helpr; the line entitles to nothing until one of this name is published\n$/u);
    expect(await buy('--item', 'helper', '--policy', 'beta')).toContain('Warning: helper has no channel beta (it has stable); nothing is delivered');
    expect(await buy('--item', 'helper', '--policy', '9.9.9')).toContain('Warning: helper has no release 9.9.9; nothing is delivered');
    for (const policy of ['stable', '1.0.0']) expect(await buy('--item', 'helper', '--policy', policy)).not.toContain('Warning');
    await expect(waybillJson('trigger', 'purchase', '--org', randomUUID(), '--item', 'helpr')).resolves.toMatchObject({ outcome: 'minted', warning: expect.stringContaining('helpr') as string });
  });

  test('an unknown template and a bad time are refused with their codes', async () => {
    expect((await waybill('trigger', 'provision', '--template', 'nobody')).err).toContain('TEMPLATE_UNKNOWN');
    expect((await waybill('trigger', 'purchase', '--org', randomUUID(), '--item', 'helper', '--until', 'soon')).code).toBe(2);
    expect((await waybill('trigger', 'epoch', randomUUID())).code).toBe(3);
  });
});

describe('explaining', () => {
  const org = randomUUID();
  const workspace = randomUUID();
  const eventIds = { record: randomUUID(), line: randomUUID() };

  beforeAll(async () => {
    const envelope = { occurred_at: Date.now(), caused_by: null, run_id: null };
    const record = parseEvent('WorkspaceProvisioned', {
      ...envelope, event_id: eventIds.record, workspace_id: workspace, org_id: org, runtime: 'claude-code', template: 'helper', plugins: [], status: 'provisioning',
      delivery_mode: 'volume', epoch: 1, generation: 1, record_version: 1, origin: 'user',
    });
    const line = parseEvent('Purchase', {
      ...envelope, event_id: eventIds.line, org_id: org, item_id: 'helper', purchase_id: 'p-7', entitlement_version: 1, source: 'grant', policy: 'stable',
      valid_from: 0, valid_until: null,
    });
    await tx(database, async (trx) => {
      await applyEntitlementBatch(trx, [line]);
      await foldRecords(trx, [record]);
    });
  });

  test('a workspace: its record, its lines, and why nothing is there yet', async () => {
    const { code, out } = await waybill('explain', workspace);
    expect(code).toBe(0);
    expect(out).toContain(`workspace ${workspace}`);
    expect(out).toContain('asks for     helper on claude-code');
    expect(out).toContain('p-7  version 1  grant  stable');
    expect(out).toContain('It is due now and no worker has taken it.');
  });

  test('the same for programs', async () => {
    const facts = await waybillJson<{ record: { template: string }; reason: { state: string }; entitlements: { entitled: boolean }[] }>('explain', workspace);
    expect(facts).toMatchObject({ record: { template: 'helper' }, reason: { state: 'waiting' }, entitlements: [{ entitled: true }] });
  });

  test('an entitlement by org and item, an event by its id', async () => {
    expect((await waybill('explain', `${org}/helper`)).out).toContain('helper  entitled, stable');
    const event = await waybill('explain', eventIds.line);
    expect(event.out).toContain(`newest event of line ${org}/helper/p-7`);
    expect(event.out).toContain('EntitlementChanged');
  });

  test('what nobody has heard of is nothing that matched; what is no id is refused', async () => {
    expect((await waybill('explain', randomUUID())).code).toBe(3);
    expect((await waybill('explain', `${org}/nothing`)).code).toBe(3);
    expect((await waybill('explain', workspace.slice(0, 8))).code).toBe(2);
  });

  test('a step of the story that does not come true says why, and where the logs are', async () => {
    const stage = { controlPlane: new ControlPlane(database, { findItem: async () => await Promise.resolve(undefined) }, '/nowhere'), billing: new Billing(database), pipeline: database, boxes: { start: () => undefined }, volumes: '/nowhere', logFile: '/logs/roles.log' };
    const scene = new Scene(stage, new AbortController().signal, 50);
    await expect(scene.said('AssetsReady', workspace)).rejects.toThrow(`no AssetsReady of workspace ${workspace} within 0.05 s: It is due now and no worker has taken it. The roles log to /logs/roles.log`);
    await expect(scene.until('something', async () => await Promise.resolve(false))).rejects.toThrow('something: not within 0.05 s. The roles log to /logs/roles.log');
  });

  test('deliveries list shows where it stands, and can be asked for a state', async () => {
    expect(await waybillJson('deliveries', 'list', '--org', org)).toMatchObject([{ workspace, org, state: 'due', template: 'helper' }]);
    expect((await waybill('deliveries', 'list')).out).toMatch(new RegExp(`^workspace +org +state.*\\n(?:.*\\n)*${workspace} +${org} +due`, 'u'));
    expect((await waybill('deliveries', 'list', '--state', 'refused')).code).toBe(3);
    expect((await waybill('deliveries', 'list', '--org', 'acme')).code).toBe(2);
    expect((await waybill('deliveries', 'list', '--limit', 'many')).code).toBe(2);
  });
});

describe('dead letters', () => {
  test('list and show say where the bytes came from, why they were refused, and the way out', async () => {
    expect((await waybill('dead-letters', 'list')).code).toBe(3);
    const place = { consumer: 'entitlements', topic: `${isolated.topicPrefix}marketplace.entitlements`, partition: 3, clusterId: 'test' };
    await database('consumer_offsets').insert({ consumer: place.consumer, topic: place.topic, partition: 3, position: 0, cluster_id: 'test' });
    const record = { offset: 0, key: Buffer.from('a key'), value: Buffer.from('{"not": "avro"}'), headers: [['event-type', Buffer.from('Purchase')] as const] };
    const codec = createCodec({ registry: createMemoryRegistry() });
    await settleBatch(entitlementsConsumer, { database, codec, log: silentLogger }, { place, held: 0, records: [record], next: 1 });

    const [letter] = await waybillJson<{ id: number; code: string }[]>('dead-letters', 'list');
    expect(letter).toMatchObject({ code: 'BAD_MAGIC', topic: place.topic, partition: 3, offset: 0 });
    const { out } = await waybill('dead-letters', 'show', String(letter?.id));
    expect(out).toContain('BAD_MAGIC: ');
    expect(out).toContain('header   event-type: "Purchase"');
    expect(out).toContain('{"not": "avro"}');
    expect(out).toContain('cure     ');
    const whole = await waybillJson<{ value: string }>('dead-letters', 'show', String(letter?.id));
    expect(Buffer.from(whole.value, 'base64').toString()).toBe('{"not": "avro"}');
    expect((await waybill('dead-letters', 'show', '999999')).code).toBe(3);
  });

  test('offsets adopt forgets the positions of a consumer', async () => {
    expect((await waybill('offsets', 'adopt', 'entitlements')).out).toContain('forgot 1 positions');
    expect((await waybill('offsets', 'adopt', 'entitlements')).code).toBe(3);
  });
});
