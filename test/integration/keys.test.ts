import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';

import { createSellerKeys } from '../../adapters/kms/seller-keys.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { checkCurrent, followKeyLists, sellerKeys, trustFirst, type SignedKeyList } from '../../catalogue/key-list.ts';
import { readKeyLists } from '../../catalogue/publish/key-lists.ts';
import { createSeller } from '../../catalogue/publish/seller.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { purchase } from '../../producers/billing.ts';
import { parseSellerId } from '../../schemas/ids.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let isolated: Isolated;
let database: Database;

beforeAll(async () => {
  isolated = await isolate();
  const environment: Record<string, string> = {
    ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'waybill',
    WAYBILL_BILLING_DATABASE_URL: isolated.databaseUrl, WAYBILL_BILLING_DATABASE_SCHEMA: 'billing', WAYBILL_STATE_DIR: '/nowhere/at/all',
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  for (const owner of ['waybill', 'billing']) await waybillJson('migrate', '--database', owner);
  database = openDatabase(isolated.databaseUrl, { schema: 'waybill' });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await database.destroy();
  await isolated.drop();
});

test('a key list is drafted, signed where the keys lie, published, and replaces a stolen key; agents follow the chain', async () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder, name);
  const kms = openKms(inject('stack').kms);
  const acme = parseSellerId('acme');
  const { seller } = await createSeller(database, createSellerKeys(kms), acme);
  kms.destroy();
  for (const name of ['a.pem', 'b.pem', 'lease.pem', 'acme-new.pem']) await waybillJson('keys', 'generate', at(name));
  expect((await waybill('keys', 'draft', at('1.json'))).err).toContain('name its root keys with --root');

  await waybillJson('keys', 'draft', at('1.json'), '--root', at('a.pem.pub'), '--root', at('b.pem.pub'), '--lease', at('lease.pem.pub'));
  await waybillJson('keys', 'sign', at('1.json'), '--key', at('a.pem'));
  expect((await waybill('keys', 'publish', at('1.json'), '--reason', 'the first')).err).toContain('it carries 1 signatures');
  await waybillJson('keys', 'sign', at('1.json'), '--key', at('b.pem'));
  expect(await waybillJson('keys', 'publish', at('1.json'), '--reason', 'the first')).toMatchObject({ version: 1 });
  const shipped = trustFirst(JSON.parse(readFileSync(at('1.json'), 'utf8')) as SignedKeyList);
  const [stolen] = sellerKeys(shipped.list, acme);
  expect(stolen?.publicKey).toEqual(seller.signingPublicKey);

  await waybillJson('keys', 'draft', at('2.json'), '--without', stolen?.keyId ?? '', '--key', `acme=${at('acme-new.pem.pub')}`);
  for (const key of ['a.pem', 'b.pem']) await waybillJson('keys', 'sign', at('2.json'), '--key', at(key));
  await waybillJson('keys', 'publish', at('2.json'), '--reason', 'incident 71');
  const now = followKeyLists(shipped, await readKeyLists(database, 1));
  checkCurrent(now, Date.now());
  expect(now.list.version).toBe(2);
  expect(sellerKeys(now.list, acme).map(({ keyId }) => keyId)).not.toContain(stolen?.keyId);
  expect((await waybill('keys', 'publish', at('1.json'), '--reason', 'back')).err).toContain('version 1 does not follow version 2');
  expect(await waybillJson('keys', 'show')).toMatchObject({ version: 2, broker: { keys: [{}] } });
  const audit = await database('audit').where({ subject_id: 'key-list' }).orderBy('id');
  expect(audit).toMatchObject([{ outcome: 'published', detail: { version: 1, reason: 'the first' } }, { detail: { version: 2, reason: 'incident 71' } }]);
});

test('revoke shows what it would do, and does it with --apply through billing\'s own functions, the reason on record', async () => {
  const org = randomUUID();
  const billing = openDatabase(isolated.databaseUrl, { schema: 'billing' });
  try {
    await billing.transaction(async (trx) => await purchase(trx, { org_id: org, item_id: 'seo-agent', purchase_id: 'p-1', source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null }));
    const args = ['revoke', '--org', org, '--item', 'seo-agent', '--purchase', 'p-1', '--cause', 'fraud'];
    expect((await waybill(...args)).code).toBe(2);
    expect(await waybillJson(...args, '--reason', 'incident 71')).toMatchObject({ applied: false, outcome: 'minted' });
    expect((await billing('waybill_outbox')).map(({ type }: { type: string }) => type)).toEqual(['Purchase']);
    expect(await waybillJson(...args, '--reason', 'incident 71', '--apply')).toMatchObject({ applied: true, line: { reason: 'fraud', entitlement_version: 2 } });
    expect((await billing('waybill_outbox').orderBy('id')).map(({ type }: { type: string }) => type)).toEqual(['Purchase', 'Revoke']);
    expect(await waybillJson(...args, '--reason', 'incident 71', '--apply')).toMatchObject({ applied: false, outcome: 'unchanged' });
    expect(await database('audit').where({ action: 'revoke' })).toMatchObject([{ outcome: 'requested', detail: { cause: 'fraud', reason: 'incident 71' } }, {}]);
  } finally {
    await billing.destroy();
  }
});
