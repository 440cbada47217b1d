import { randomBytes } from 'node:crypto';

import type { Message } from 'kafkajs';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';

import { createRegistry } from '../../adapters/kafka/registry.ts';
import { showDeadLetter } from '../../consumers/dead-letters.ts';
import { listDeadLetters } from '../../process/list-dead-letters.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { workspacesConsumer } from '../../consumers/workspaces.ts';
import { Failure } from '../../process/failure.ts';
import { createCodec } from '../../schemas/codec.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { longMax, parsePurchaseId } from '../../schemas/ids.ts';
import { keyOf, type TypedEvent } from '../../schemas/topics.ts';
import { items, provisioned, purchase, revoke } from '../support/histories.ts';
import { countsOf, startPipeline, type TestPipeline } from '../support/pipeline.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let pipeline: TestPipeline;
let proxy: TcpProxy | undefined;
beforeEach(async () => { pipeline = await startPipeline(); });
afterEach(async () => {
  await pipeline.drop();
  await proxy?.close();
  proxy = undefined;
});

const rowsOf = async <R>(sql: string): Promise<R[]> => (await pipeline.database.raw<{ rows: R[] }>(sql)).rows;
const record = async (event: TypedEvent, change: (value: Buffer) => Buffer | null = (value) => value): Promise<Message> =>
  ({ key: keyOf(event), value: change(await pipeline.codec.encode(event)) });

/** Avro's long: zigzag, seven bits a byte. */
function avroLong(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value * 2n;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

/** Puts `to` where `from` stands, which has to be there once and as long. */
function replace(value: Buffer, from: Buffer, to: Buffer): Buffer {
  expect([value.indexOf(from) > 0, from.length]).toEqual([true, to.length]);
  const changed = Buffer.from(value);
  to.copy(changed, value.indexOf(from));
  return changed;
}

const unknownId = Buffer.from([0, 0x7f, 0xff, 0xff, 0xfe, 1, 2, 3]);
/** Every poison code, and a record that has it. The key is that of the good events around it. */
const poisons: [string, () => Promise<Message>][] = [
  ['BAD_MAGIC', async () => await record(purchase(), () => Buffer.from('{"purchase":"as JSON"}'))],
  ['BAD_MAGIC', async () => await record(purchase(), () => null)],
  ['SCHEMA_UNKNOWN', async () => await record(purchase(), () => unknownId)],
  ['SCHEMA_MISMATCH', async () => ({ ...await record(provisioned()), key: keyOf(purchase()) })],
  ['BYTES_TRUNCATED', async () => await record(purchase(), (value) => value.subarray(0, -3))],
  ['BYTES_TRUNCATED', async () => await record(purchase(), (value) => Buffer.concat([value, Buffer.from('more')]))],
  ['LONG_OVERFLOW', async () => await record(purchase({ entitlement_version: longMax }), (value) => replace(value, avroLong(BigInt(longMax)), avroLong(2n ** 53n + 1n)))],
  ['KEY_MISMATCH', async () => await record(purchase({ item_id: items[1] ?? expect.fail() }))],
  ['FIELD_INVALID', async () => await record(purchase(), (value) => replace(value, Buffer.from('stable'), Buffer.from('STABLE')))],
  ['EVENT_TOO_LARGE', async () => await record(purchase(), (value) => Buffer.concat([value, Buffer.alloc(256 * 1024)]))],
];

describe('E4, I17: a poison message', () => {
  test.each(poisons)('%s is put away with its bytes, headers, code and reason, and delays nothing, not even its own key', async (code, make) => {
    const { value } = await make();
    const key = code === 'KEY_MISMATCH' ? 'somebody/else' : keyOf(purchase());
    const headers = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', odd: Buffer.from([0xff, 0x00]) };
    const partition = 3;
    await pipeline.publishRaw('marketplace.entitlements', [
      { ...await record(purchase()), partition }, { key, value, headers, partition }, { ...await record(revoke()), partition },
    ]);
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);

    expect(await rowsOf('select entitlement_version, revoked from entitlement_lines')).toEqual([{ entitlement_version: 2, revoked: true }]);
    expect(await countsOf(pipeline.database, 'entitlements')).toEqual({ accepted: 3, applied: 2, superseded: 0, duplicate: 0, conflict: 0, deadLettered: 1 });
    const [summary, ...others] = await listDeadLetters(pipeline.database);
    expect(others).toEqual([]);
    // Closed where the version could be read: a later one of the line followed (E4).
    expect(summary).toMatchObject({ consumer: 'entitlements', partition, offset: 1, code, status: code === 'FIELD_INVALID' ? 'closed' : 'open' });
    expect(summary?.reason.length).toBeGreaterThan(20);
    const letter = await showDeadLetter(pipeline.database, summary?.id ?? 0) ?? expect.fail();
    expect(letter.key?.toString()).toBe(key);
    expect(letter.value === null ? null : Buffer.compare(letter.value, value as Buffer)).toBe(value === null ? null : 0); // all of them are made as buffers
    expect(Object.fromEntries(letter.headers)).toEqual({ traceparent: Buffer.from(headers.traceparent), odd: headers.odd });
    const [published] = await rowsOf<{ value: Buffer; headers: Record<string, unknown> }>(`select value, headers from waybill_outbox where topic = 'waybill.dead-letters'`);
    expect(Buffer.compare(published?.value ?? expect.fail(), value as Buffer ?? Buffer.alloc(0))).toBe(0); // as above
    expect(published?.headers).toMatchObject({
      'waybill-code': code, 'waybill-consumer': 'entitlements', 'waybill-source': `${pipeline.isolated.topicPrefix}marketplace.entitlements/3/1`,
      traceparent: headers.traceparent, odd: { base64: headers.odd.toString('base64') },
    });
  });

  test('is no event with headers that Kafka allows and kafkajs has no type for', async () => {
    const odd = { constructor: 'a', toString: 'b', valueOf: Buffer.from([0]) } as unknown as Record<string, string>; // own fields, named like what every object has
    await pipeline.publishRaw('marketplace.entitlements', [{ ...await record(purchase()), headers: odd, partition: 3 }, { ...await record(revoke()), partition: 3 }]);
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 2, applied: 2, deadLettered: 0 });
  });

  test('among workspace events is put away just so', async () => {
    await pipeline.publishRaw('controlplane.workspaces', [
      { ...await record(provisioned()), partition: 0 }, { ...await record(provisioned(), () => unknownId), partition: 0 },
      { ...await record(provisioned({ record_version: 2 })), partition: 0 },
    ]);
    pipeline.run(workspacesConsumer);
    await pipeline.settled(workspacesConsumer);
    expect(await rowsOf('select record_version from workspace_records')).toEqual([{ record_version: 2 }]);
    expect(await listDeadLetters(pipeline.database, { consumer: 'workspaces', code: 'SCHEMA_UNKNOWN' })).toHaveLength(1);
    expect(await listDeadLetters(pipeline.database, { status: 'discarded' })).toEqual([]);
    expect(await showDeadLetter(pipeline.database, 4711)).toBeUndefined();
  });

  test('is stored and published once, although the log is read again', async () => {
    await pipeline.publishRaw('marketplace.entitlements', [await record(purchase(), () => unknownId), await record(purchase())]);
    const first = pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    await first.stop();
    await pipeline.database.raw('truncate consumer_offsets, entitlement_lines, entitlements');
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await rowsOf(`select from dead_letters`)).toHaveLength(1);
    expect(await rowsOf(`select from waybill_outbox where topic = 'waybill.dead-letters'`)).toHaveLength(1);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 2, deadLettered: 1, applied: 1 });
  });

  test('that only applying finds is found among the others, which are applied', async () => {
    const bad = parsePurchaseId('p-bad');
    await pipeline.publish(purchase(), purchase({ purchase_id: bad }), purchase({ purchase_id: parsePurchaseId('p-3') }));
    pipeline.run({
      ...entitlementsConsumer,
      async apply(trx, events) {
        const result = await entitlementsConsumer.apply(trx, events);
        if (events.some(({ event }) => event.purchase_id === bad)) throw new Failure('poison', 'FIELD_INVALID', 'purchase_id is one that this test refuses');
        return result;
      },
    });
    await pipeline.settled(entitlementsConsumer);
    expect(await rowsOf('select purchase_id from entitlement_lines order by 1')).toEqual([{ purchase_id: 'p-1' }, { purchase_id: 'p-3' }]);
    expect(await listDeadLetters(pipeline.database)).toMatchObject([{ code: 'FIELD_INVALID', reason: 'purchase_id is one that this test refuses', offset: 1 }]);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 3, deadLettered: 1, applied: 2 });
  });
});

describe('E4: a later version closes a dead letter by itself', () => {
  const statuses = async (): Promise<unknown[]> => (await rowsOf<{ offset: number; status: string }>('select "offset", status from dead_letters order by id')).map(({ offset, status }) => [offset, status]);
  const stable = (value: Buffer): Buffer => replace(value, Buffer.from('stable'), Buffer.from('STABLE'));
  const at = (message: Message): Message => ({ ...message, partition: 3 });

  test('in the middle of a line: of that line and version alone, with the reason on record', async () => {
    const other = parsePurchaseId('p-other');
    await pipeline.publishRaw('marketplace.entitlements', [
      await record(purchase()), await record(purchase({ entitlement_version: 2 }), stable), await record(purchase({ purchase_id: other, entitlement_version: 2 }), stable),
      await record(purchase({ entitlement_version: 9 }), stable), await record(purchase(), () => unknownId),
    ].map(at));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await statuses()).toEqual([[1, 'open'], [2, 'open'], [3, 'open'], [4, 'open']]);
    // Not by an earlier one, nor by the same version again, nor by another line of the key.
    await pipeline.publishRaw('marketplace.entitlements', [await record(purchase()), await record(purchase({ entitlement_version: 2 })), await record(purchase({ purchase_id: other }))].map(at));
    await pipeline.settled(entitlementsConsumer);
    expect(await statuses()).toEqual([[1, 'open'], [2, 'open'], [3, 'open'], [4, 'open']]);
    await pipeline.publishRaw('marketplace.entitlements', [await record(revoke({ entitlement_version: 3 }))].map(at));
    await pipeline.settled(entitlementsConsumer);
    expect(await statuses()).toEqual([[1, 'closed'], [2, 'open'], [3, 'open'], [4, 'open']]);
    expect(await rowsOf(`select action, outcome, code, detail ->> 'reason' as reason from audit where subject_kind = 'dead-letter'`))
      .toEqual([{ action: 'close', outcome: 'closed', code: 'FIELD_INVALID', reason: 'a later version came' }]);
    expect(await rowsOf('select entitlement_version, revoked from entitlement_lines order by purchase_id')).toEqual([{ entitlement_version: 3, revoked: true }, { entitlement_version: 1, revoked: false }]);
  });

  test('in the middle of a workspace, although nothing of it could be read; a repeat of what came before does not', async () => {
    const [one, two] = [await record(provisioned()), await record(provisioned({ record_version: 3 }))];
    const unreadable = await record(provisioned({ record_version: 2 }), () => unknownId);
    await pipeline.publishRaw('controlplane.workspaces', [one, unreadable, one].map(at));
    pipeline.run(workspacesConsumer);
    await pipeline.settled(workspacesConsumer);
    expect(await statuses()).toEqual([[1, 'open']]);
    await pipeline.publishRaw('controlplane.workspaces', [one, two, unreadable, two].map(at));
    await pipeline.settled(workspacesConsumer);
    expect(await statuses()).toEqual([[1, 'closed'], [5, 'open']]);
    expect(await rowsOf('select record_version from workspace_records')).toEqual([{ record_version: 3 }]);
  });
});

describe('I17: a registry that is down', () => {
  test('dead-letters nothing, stops no known traffic, and what waited is applied when it is back', async () => {
    const { registryUrl } = inject('stack');
    const direct = createRegistry({ url: registryUrl, timeoutMs: 5_000 });
    const { hostname, port, pathname } = new URL(registryUrl);
    proxy = await startTcpProxy(hostname, Number(port));
    const codec = createCodec({ registry: createRegistry({ url: `http://127.0.0.1:${proxy.port}${pathname}`, timeoutMs: 1_000 }) });

    // The same event by a producer whose schema nobody here has met: one field more, with a default.
    const newer = JSON.parse(schemas.Purchase) as { fields: unknown[] };
    newer.fields.push({ name: `note_${randomBytes(4).toString('hex')}`, type: 'string', default: '' });
    const id = await direct.register(`test-${randomBytes(4).toString('hex')}`, JSON.stringify(newer));
    const unmet = await record(purchase({ entitlement_version: 5 }), (value) => {
      const withNote = Buffer.concat([value, Buffer.from([0])]);
      withNote.writeInt32BE(id, 1);
      return withNote;
    });

    pipeline.run(entitlementsConsumer, { codec });
    await pipeline.publishRaw('marketplace.entitlements', [{ ...await record(purchase()), partition: 1 }]);
    await pipeline.settled(entitlementsConsumer);

    proxy.cut();
    const behind = { ...await record(purchase({ purchase_id: parsePurchaseId('p-behind') })), partition: 1 };
    await pipeline.publishRaw('marketplace.entitlements', [
      { ...await record(purchase({ entitlement_version: 2 })), partition: 1 }, { ...unmet, partition: 1 }, behind,
      { ...await record(purchase({ purchase_id: parsePurchaseId('p-elsewhere') })), partition: 2 },
    ]);
    const versions = async (): Promise<unknown> =>
      Object.fromEntries((await rowsOf<{ purchase_id: string; entitlement_version: number }>('select purchase_id, entitlement_version from entitlement_lines'))
        .map((line) => [line.purchase_id, line.entitlement_version]));
    // What came before it in its partition, and everything in another, is applied.
    await expect.poll(versions, { timeout: 10_000, interval: 20 }).toEqual({ 'p-1': 2, 'p-elsewhere': 1 });
    expect(await listDeadLetters(pipeline.database)).toEqual([]);

    proxy.mend();
    await pipeline.settled(entitlementsConsumer);
    expect(await versions()).toEqual({ 'p-1': 5, 'p-behind': 1, 'p-elsewhere': 1 });
    expect(await countsOf(pipeline.database, 'entitlements')).toEqual({ accepted: 5, applied: 5, superseded: 0, duplicate: 0, conflict: 0, deadLettered: 0 });
  });
});
