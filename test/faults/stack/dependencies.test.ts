import { DisableKeyCommand, EnableKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { closeCase, untilRest } from '../../support/fault-run.ts';
import { openCase, placed, publishReleases, type Case } from '../../support/fault-scenarios.ts';
import { boot } from '../../support/fault-state.ts';
import { startHttpFaultProxy, type HttpFault, type HttpFaultProxy } from '../../support/http-fault-proxy.ts';
import { startRole, type RoleProcess } from '../../support/role-process.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

/** Longest time from the mend to AssetsReady: the second retry is due 5 s after the first, the third 20 s after the second. */
const recoverWithinMs = 25_000;

const startedAt = performance.now();
const recoveryMs: Record<string, number> = {};
const struck: Record<string, number> = {};
let world: DeliveryWorld;
let store: HttpFaultProxy;
let kms: HttpFaultProxy;
let postgres: TcpProxy;
let role: RoleProcess;
let variables: Record<string, string>;

beforeAll(async () => {
  const stack = inject('stack');
  world = await DeliveryWorld.open();
  await publishReleases(world);
  store = await startHttpFaultProxy(stack.s3.endpoint);
  kms = await startHttpFaultProxy(stack.kms.endpoint);
  const url = new URL(world.isolated.databaseUrl);
  postgres = await startTcpProxy(url.hostname, Number(url.port));
  url.hostname = '127.0.0.1';
  url.port = String(postgres.port);
  variables = {
    WAYBILL_S3_ENDPOINT: store.url, WAYBILL_FETCH_HOSTS: new URL(store.url).host, WAYBILL_KMS_ENDPOINT: kms.url, WAYBILL_DATABASE_URL: url.href,
    WAYBILL_FETCH_IDLE_MS: '500', WAYBILL_FETCH_TIMEOUT_MS: '3000', WAYBILL_LEASE_MS: '5000',
  };
  role = startRole(world, { variables });
});
afterAll(async () => {
  await role.kill();
  await Promise.all([store.close(), kms.close(), postgres.close()]);
  await world.close();
  recordFigures('dependencies', {
    about: 'dependencies', events: Object.keys(recoveryMs).length * 2, faults: struck, recoveryMs, seconds: (performance.now() - startedAt) / 1000,
  });
});

/** The lines of the role's log since `from` that a person reads. */
const linesSince = (from: number): { level: string; code?: string; cure?: string; msg: string }[] =>
  role.said().slice(from).split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { level: string; msg: string }); // pino's lines

async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (role.end() !== undefined) throw new Error(`the role ended (${role.end() ?? ''}) instead: ${what}\n${role.said()}`);
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${withinMs} ms:\n${role.said().slice(-4000)}`);
    await delay(10);
  }
}

/** A boot during an outage: nothing visible, nothing rejected, said in a line; then the mend, and the time that it took. */
async function bootThrough(name: string, fails: () => Promise<void> | void, mends: () => Promise<void> | void, line: RegExp): Promise<Case> {
  const one = await openCase(world);
  const from = role.said().length;
  await fails();
  try {
    await world.record(one.workspace, { template: 'seo', plugins: ['voice'] });
    await until(`a line about: ${name}`, () => linesSince(from).some(({ msg }) => line.test(msg)));
    expect(world.files(one.workspace), 'nothing is visible').toEqual({});
  } finally {
    await mends();
  }
  const mendedAt = performance.now();
  await until(`AssetsReady after: ${name}`, async () => (await world.said(one.workspace)).length > 0, recoverWithinMs);
  recoveryMs[name] = performance.now() - mendedAt;
  await untilRest(one, role);
  expect((await world.said(one.workspace)).map(({ type }) => type), 'an outage is nobody\'s refusal').toEqual(['AssetsReady']);
  expect(await boot(one)).toEqual([]);
  expect(world.files(one.workspace)).toEqual(placed('seo', 'voice'));
  const told = linesSince(from).filter(({ msg }) => line.test(msg));
  expect(told.length, JSON.stringify(told)).toBeLessThanOrEqual(4);
  for (const { level, cure } of told) {
    expect(['info', 'warn']).toContain(level);
    expect(cure, 'a line says what to do').toBeTruthy();
  }
  expect((await world.database.raw<{ rows: unknown[] }>('select from dead_letters')).rows).toEqual([]);
  struck[name] = 1;
  await closeCase(one);
  return one;
}

const xml = (code: string): string => `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`;
const storeFaults: [name: string, fault: HttpFault, line: RegExp][] = [
  ['the store refuses connections', { kind: 'refuse' }, /UND_ERR|ECONN|other side closed|attempt failed/u],
  ['the store answers 503', { kind: 'answer', status: 503, body: xml('SlowDown') }, /answered with status 503/u],
  ['the store stalls after the headers', { kind: 'stall' }, /attempt failed/u],
  ['the store truncates the body', { kind: 'truncate' }, /attempt failed/u],
];

describe('a boot while', () => {
  test.each(storeFaults)('%s: waits, says so, and recovers by itself (I17, I18)', async (name, fault, line) => {
    // A new process has no ciphertext yet.
    await role.kill();
    role = startRole(world, { variables });
    const before = store.struck();
    await bootThrough(name, () => { store.set(fault); }, () => { store.set({ kind: 'pass' }); }, line);
    expect(store.struck()).toBeGreaterThan(before);
  });

  test.each([
    ['the KMS throttles', 400, 'ThrottlingException'], ['the KMS is unwell', 500, 'KMSInternalException'],
  ])('%s: waits, says so, and recovers by itself (I17, I18)', async (name, status, error) => {
    const body = JSON.stringify({ __type: error, message: 'Rate exceeded' });
    await bootThrough(name, () => { kms.set({ kind: 'answer', status, body }); }, () => { kms.set({ kind: 'pass' }); }, new RegExp(error, 'u'));
  });

  test('the KMS answers with what is no HTTP: waits, says so, and recovers by itself (I17, I18)', async () => {
    await bootThrough('the KMS is garbled', () => { kms.set({ kind: 'garble' }); }, () => { kms.set({ kind: 'pass' }); }, /KMS Decrypt: HPE_/u);
  });

  test('the key of the seller is disabled: waits, says so, and recovers once it is enabled (I17, I18)', async () => {
    const { kms: { endpoint, region, accessKeyId, secretAccessKey } } = inject('stack');
    const client = new KMSClient({ endpoint, region, credentials: { accessKeyId, secretAccessKey } });
    const { rows: [seller] } = await world.database.raw<{ rows: { key: string }[] }>(`select wrapping_key_id as key from sellers where seller_id = 'platform'`);
    const KeyId = seller?.key ?? '';
    await bootThrough('the key is disabled', async () => { await client.send(new DisableKeyCommand({ KeyId })); }, async () => { await client.send(new EnableKeyCommand({ KeyId })); }, /DisabledException/u);
    client.destroy();
  });

  test('PostgreSQL is out of reach: waits, says so once, and recovers by itself (I17, I18)', async () => {
    await bootThrough('PostgreSQL out of reach', () => { postgres.cut(); }, () => { postgres.mend(); }, /deliveries wait: PostgreSQL/u);
  });
});

test('PostgreSQL is lost in the middle of every tenth part of a boot: each time the boot comes to rest with one AssetsReady (I3, I18)', async () => {
  for (let part = 0; part < 10; part += 1) {
    const one = await openCase(world);
    const traced = role.trace().length;
    await world.record(one.workspace, { template: 'seo', plugins: ['voice'] });
    await until('the boot to be on its way', () => role.trace().length > traced + part * 15);
    postgres.cut();
    await delay(100);
    postgres.mend();
    const mendedAt = performance.now();
    await untilRest(one, role);
    recoveryMs['PostgreSQL lost in mid-boot, worst'] = Math.max(recoveryMs['PostgreSQL lost in mid-boot, worst'] ?? 0, performance.now() - mendedAt);
    struck['PostgreSQL lost in mid-boot'] = part + 1;
    expect((await world.said(one.workspace)).map(({ type }) => type)).toEqual(['AssetsReady']);
    expect(world.files(one.workspace)).toEqual(placed('seo', 'voice'));
    await closeCase(one);
  }
});
