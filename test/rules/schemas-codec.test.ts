import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { Failure } from '../../process/failure.ts';
import { createWriter, parseSchema } from '../../schemas/avro.ts';
import { createCodec, subjectOf } from '../../schemas/codec.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { longMax } from '../../schemas/ids.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { readExample } from '../../schemas/schema-files.ts';
import { eventBytesMax, isEventType, keyOf, topicOf, type TypedEvent } from '../../schemas/topics.ts';
import type { EventType } from '../../schemas/generated/events.ts';
import { arbitraryEvent } from '../support/arbitrary-events.ts';
import { createMemoryKnownSchemas, createMemoryRegistry } from '../support/memory-registry.ts';

const types = Object.keys(schemas).filter(isEventType);
const sample = <E extends EventType>(type: E): TypedEvent<E> => parseEvent(type, readExample(type, 1));
const keyBytes = (event: TypedEvent): Buffer => Buffer.from(keyOf(event));
const purchase = sample('Purchase');
const topic = 'marketplace.entitlements';

/** The record of an event, as a writer with any schema would frame it. */
function frame(id: number, schema: string, value: object): Buffer {
  const header = Buffer.alloc(5);
  header.writeInt32BE(id, 1);
  return Buffer.concat([header, createWriter(parseSchema(schema))(value)]);
}

async function failureOf(work: () => unknown): Promise<Failure> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('did not fail');
}

describe('round trip', () => {
  test.each(types)('%s: what was encoded decodes to the same event, at once after the first time', async (type) => {
    const codec = createCodec({ registry: createMemoryRegistry() });
    await codec.decode(topicOf(type), keyBytes(sample(type)), await codec.encode(sample(type)));
    await fc.assert(fc.asyncProperty(arbitraryEvent(type), async (json) => {
      const event = parseEvent(type, json);
      const bytes = await codec.encode(event);
      expect(bytes.subarray(0, 5)).toEqual(Buffer.from([0, 0, 0, 0, types.indexOf(type) + 1]));
      const decoded = codec.decode(topicOf(type), keyBytes(event), bytes);
      expect(decoded).not.toBeInstanceOf(Promise);
      expect(decoded).toEqual(event);
    }), { numRuns: 30 });
  });

  test('the number of requests does not grow with the number of messages', async () => {
    const registry = createMemoryRegistry();
    const writer = createCodec({ registry });
    const bytes = await Promise.all(Array.from({ length: 20 }, () => writer.encode(purchase)));
    expect(registry.requests).toHaveLength(types.length);
    const reader = createCodec({ registry });
    await Promise.all(bytes.map(async (value) => await reader.decode(topic, keyBytes(purchase), value)));
    expect(registry.requests).toHaveLength(types.length + 1);
  });
});

describe('poison (I17): each fault of a message has its own code', () => {
  const key = keyBytes(purchase);
  const codec = createCodec({ registry: createMemoryRegistry() });
  const id = types.indexOf('Purchase') + 1;
  const good = frame(id, schemas.Purchase, purchase.event);
  const codeOf = async (value: Buffer | null, givenKey: Buffer | null = key): Promise<string> => {
    const failure = await failureOf(() => codec.decode(topic, givenKey, value));
    expect(failure.kind).toBe('poison');
    return failure.code;
  };

  test('BAD_MAGIC for no value, an empty one and another first byte', async () => {
    expect(await codeOf(null)).toBe('BAD_MAGIC');
    expect(await codeOf(Buffer.alloc(0))).toBe('BAD_MAGIC');
    expect(await codeOf(Buffer.from('{"type":"Purchase"}'))).toBe('BAD_MAGIC');
  });

  test('SCHEMA_UNKNOWN for an id that the registry does not have', async () => {
    expect(await codeOf(Buffer.from([0, 0, 0, 3, 231, 1]))).toBe('SCHEMA_UNKNOWN');
    expect(await codeOf(Buffer.from([0, 255, 255, 255, 255, 1]))).toBe('SCHEMA_UNKNOWN');
  });

  test('SCHEMA_MISMATCH for an event of another topic, a stranger and a namesake that cannot be read', async () => {
    const registry = createMemoryRegistry();
    registry.add('x', '{"type":"record","name":"Purchase","namespace":"shop","fields":[]}', 101);
    registry.add('x', '{"type":"record","name":"Purchase","namespace":"io.waybill.events","fields":[{"name":"event_id","type":"int"}]}', 102);
    registry.add('x', 'syntax = "proto3"; message Purchase {}', 103);
    registry.add('x', '"string"', 104);
    const strict = createCodec({ registry });
    for (const other of [101, 102, 103, 104]) {
      // Asked twice: the second answer comes from memory.
      for (let i = 0; i < 2; i += 1) expect(await failureOf(() => strict.decode(topic, key, Buffer.from([0, 0, 0, 0, other, 2])))).toMatchObject({ kind: 'poison', code: 'SCHEMA_MISMATCH' });
    }
    expect(registry.requests).toHaveLength(4);
    const item = sample('ItemChanged');
    const bytes = await codec.encode(item);
    expect(await failureOf(() => codec.decode('marketplace.entitlements', keyBytes(item), bytes))).toMatchObject({ code: 'SCHEMA_MISMATCH' });
    expect(await failureOf(() => codec.decode('waybill.dead-letters', keyBytes(item), bytes))).toMatchObject({ code: 'SCHEMA_MISMATCH' });
  });

  test('BYTES_TRUNCATED wherever the bytes stop, and when they go on', async () => {
    for (let length = 1; length < good.length; length += 1) expect(await codeOf(good.subarray(0, length)), `${length} bytes`).toBe('BYTES_TRUNCATED');
    expect(await codeOf(Buffer.concat([good, Buffer.from([0])]))).toBe('BYTES_TRUNCATED');
  });

  test('LONG_OVERFLOW for a version beyond 2^53 - 2', async () => {
    const last = frame(id, schemas.Purchase, { ...purchase.event, entitlement_version: longMax });
    expect(await codec.decode(topic, key, last)).toMatchObject({ event: { entitlement_version: longMax } });
    // A zigzag varint of 2^53 - 2 ends in …fc ff ff ff ff ff ff 1f; the next two numbers are …fe, and one byte more.
    const varint = Buffer.from([0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]);
    const at = last.indexOf(varint);
    expect(at).toBeGreaterThan(0);
    for (const beyond of [[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f], [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]]) {
      const value = Buffer.concat([last.subarray(0, at), Buffer.from(beyond), last.subarray(at + varint.length)]);
      expect(await codeOf(value)).toBe('LONG_OVERFLOW');
    }
  });

  test('KEY_MISMATCH for no key and for a key that is not the payload\'s', async () => {
    expect(await codeOf(good, null)).toBe('KEY_MISMATCH');
    expect(await codeOf(good, Buffer.alloc(0))).toBe('KEY_MISMATCH');
    expect(await codeOf(good, Buffer.from(`${keyOf(purchase)} `))).toBe('KEY_MISMATCH');
    expect(await codeOf(good, Buffer.from(keyOf(purchase).toUpperCase()))).toBe('KEY_MISMATCH');
  });

  test('FIELD_INVALID for a value that its rule refuses', async () => {
    expect(await codeOf(frame(id, schemas.Purchase, { ...purchase.event, policy: 'main branch' }))).toBe('FIELD_INVALID');
    expect(await codeOf(frame(id, schemas.Purchase, { ...purchase.event, source: 'unknown' }))).toBe('FIELD_INVALID');
  });

  test('EVENT_TOO_LARGE from 256 KiB and one byte on', async () => {
    const padded = (size: number): Buffer => Buffer.concat([good, Buffer.alloc(size - good.length)]);
    expect(await codeOf(padded(eventBytesMax))).toBe('BYTES_TRUNCATED');
    expect(await codeOf(padded(eventBytesMax + 1))).toBe('EVENT_TOO_LARGE');
  });

  test('any bytes at all are poison or an event, and never hang or crash', async () => {
    const header = Buffer.from([0, 0, 0, 0, types.indexOf('AssetsReady') + 1]);
    const ready = sample('AssetsReady');
    const whole = await codec.encode(ready);
    const decode = async (value: Buffer): Promise<void> => {
      try {
        await codec.decode('waybill.assets', keyBytes(ready), value);
      } catch (error) {
        expect(error).toBeInstanceOf(Failure);
        expect(error).toMatchObject({ kind: 'poison' });
      }
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => { await decode(Buffer.concat([header, bytes])); }), { numRuns: 500 });
    await fc.assert(fc.asyncProperty(fc.nat(whole.length - 6), fc.uint8Array({ minLength: 1, maxLength: 10 }), async (at, bytes) => {
      const value = Buffer.from(whole);
      value.set(bytes.subarray(0, value.length - 5 - at), at + 5);
      await decode(value);
    }), { numRuns: 1000 });
  });
});

describe('what is encoded', () => {
  const codec = createCodec({ registry: createMemoryRegistry() });

  test('is valid: FIELD_INVALID and LONG_OVERFLOW before anything is asked of the registry', async () => {
    const registry = createMemoryRegistry();
    const strict = createCodec({ registry });
    const broken = { ...purchase, event: { ...purchase.event, valid_until: purchase.event.valid_from } };
    expect(await failureOf(() => strict.encode(broken))).toMatchObject({ kind: 'poison', code: 'FIELD_INVALID' });
    const beyond = { ...purchase, event: { ...purchase.event, entitlement_version: 2 ** 53 } };
    expect(await failureOf(() => strict.encode(beyond))).toMatchObject({ kind: 'poison', code: 'LONG_OVERFLOW' });
    expect(registry.requests).toEqual([]);
  });

  test('is at most 256 KiB with its header (I23)', async () => {
    const ready = sample('AssetsReady');
    const path = 'p'.repeat(512);
    const withPaths = (paths: string[]): TypedEvent => ({ ...ready, event: { ...ready.event, probe_paths: paths } });
    const one = (await codec.encode(withPaths([path]))).length;
    // The count of an array takes a byte more from 64 entries on; each path takes two bytes beside its text.
    const full = Math.floor((eventBytesMax - one - 1) / (path.length + 2)) + 1;
    const rest = eventBytesMax - (one + 1 + (full - 1) * (path.length + 2));
    const limit = [...Array.from({ length: full }, () => path), 'x'.repeat(rest - 2)];
    expect((await codec.encode(withPaths(limit))).length).toBe(eventBytesMax);
    expect(await failureOf(() => codec.encode(withPaths([...limit.slice(0, -1), 'x'.repeat(rest - 1)])))).toMatchObject({ kind: 'poison', code: 'EVENT_TOO_LARGE' });
  });
});

describe('the registry', () => {
  const key = keyBytes(purchase);
  const outage = new Failure('dependency', 'UNAVAILABLE', 'down');

  test('an outage is never poison (I17), and ends without a restart', async () => {
    const registry = createMemoryRegistry();
    const codec = createCodec({ registry });
    const value = frame(types.indexOf('Purchase') + 1, schemas.Purchase, purchase.event);
    registry.outage = outage;
    expect(await failureOf(() => codec.encode(purchase))).toBe(outage);
    expect(await failureOf(() => codec.decode(topic, key, value))).toBe(outage);
    registry.outage = undefined;
    expect(await codec.decode(topic, key, value)).toEqual(purchase);
    expect(await codec.encode(purchase)).toEqual(value);
  });

  test('a process that starts during an outage reads and writes all that is known', async () => {
    const registry = createMemoryRegistry();
    const known = createMemoryKnownSchemas();
    const before = await createCodec({ registry, known }).encode(purchase);
    registry.outage = outage;
    const codec = createCodec({ registry, known });
    expect(await codec.decode(topic, key, before)).toEqual(purchase);
    for (const type of types) expect(await codec.decode(topicOf(type), keyBytes(sample(type)), await codec.encode(sample(type)))).toEqual(sample(type));
  });

  test('a type that is known is written although another one is not', async () => {
    const registry = createMemoryRegistry();
    const known = createMemoryKnownSchemas();
    known.rows.set(types.indexOf('Purchase') + 1, parseSchema(schemas.Purchase).canonical);
    registry.outage = outage;
    const codec = createCodec({ registry, known });
    expect(await codec.encode(purchase)).toHaveLength(140);
    expect(await failureOf(() => codec.encode(sample('Revoke')))).toBe(outage);
  });

  test('what the registry holds and nobody can read is asked for once, and what is read is kept', async () => {
    const registry = createMemoryRegistry();
    const known = createMemoryKnownSchemas();
    const codec = createCodec({ registry, known });
    const value = frame(types.indexOf('Purchase') + 1, schemas.Purchase, purchase.event);
    await codec.decode(topic, key, value);
    expect(known.rows.get(types.indexOf('Purchase') + 1)).toBe(parseSchema(schemas.Purchase).canonical);
    registry.outage = new Failure('poison', 'SCHEMA_MISMATCH', 'protobuf');
    for (let i = 0; i < 3; i += 1) expect(await failureOf(() => codec.decode(topic, key, Buffer.from([0, 0, 0, 0, 99, 2])))).toMatchObject({ code: 'SCHEMA_MISMATCH' });
    expect(registry.requests.filter((request) => request === 'schema 99')).toHaveLength(1);
  });

  test('what one process learns during another\'s life helps the other', async () => {
    const registry = createMemoryRegistry();
    const known = createMemoryKnownSchemas();
    const reader = createCodec({ registry, known });
    registry.outage = outage;
    const value = frame(types.indexOf('Purchase') + 1, schemas.Purchase, purchase.event);
    expect(await failureOf(() => reader.decode(topic, key, value))).toBe(outage);
    known.rows.set(types.indexOf('Purchase') + 1, parseSchema(schemas.Purchase).canonical);
    expect(await reader.decode(topic, key, value)).toEqual(purchase);
  });

  test('an unknown id is asked for once in 30 seconds, and found when it has been registered since', async () => {
    const registry = createMemoryRegistry();
    let time = 0;
    const codec = createCodec({ registry, now: () => time });
    const value = frame(200, schemas.Purchase, purchase.event);
    for (let i = 0; i < 10; i += 1) expect(await failureOf(() => codec.decode(topic, key, value))).toMatchObject({ kind: 'poison', code: 'SCHEMA_UNKNOWN' });
    expect(registry.requests.filter((request) => request === 'schema 200')).toHaveLength(1);
    registry.add('late', schemas.Purchase, 200);
    time = 29_999;
    expect(await failureOf(() => codec.decode(topic, key, value))).toMatchObject({ code: 'SCHEMA_UNKNOWN' });
    time = 30_000;
    expect(await codec.decode(topic, key, value)).toEqual(purchase);
  });

  test('a registry that has nothing of the topic is unwell, and its "unknown" is not poison (I17)', async () => {
    const codec = createCodec({ registry: createMemoryRegistry({ empty: true }) });
    const value = frame(1, schemas.Purchase, purchase.event);
    expect(await failureOf(() => codec.decode(topic, key, value))).toMatchObject({ kind: 'dependency', code: 'SCHEMA_UNKNOWN' });
    expect(await failureOf(() => codec.encode(purchase))).toMatchObject({ kind: 'dependency', code: 'SCHEMA_UNKNOWN' });
  });
});

describe('other versions of a schema', () => {
  const changed = (type: EventType, change: (schema: { fields: { name: string; type: unknown; default?: unknown }[] }) => void): string => {
    const schema = JSON.parse(schemas[type]) as { fields: { name: string; type: unknown; default?: unknown }[] }; // our own schema
    change(schema);
    return JSON.stringify(schema);
  };

  test('a newer writer\'s extra field is passed over; an older writer\'s missing one gets its default', async () => {
    const registry = createMemoryRegistry();
    const newer = changed('Purchase', ({ fields }) => { fields.push({ name: 'gift', type: { type: 'array', items: 'string' }, default: [] }); });
    const older = changed('Purchase', (schema) => { schema.fields = schema.fields.filter(({ name }) => name !== 'run_id'); });
    registry.add(subjectOf('Purchase'), newer, 50);
    registry.add(subjectOf('Purchase'), older, 51);
    const codec = createCodec({ registry });
    const key = keyBytes(purchase);
    expect(await codec.decode(topic, key, frame(50, newer, { ...purchase.event, gift: ['a', 'b'] }))).toEqual(purchase);
    const { run_id: _dropped, ...withoutRun } = purchase.event;
    expect(await codec.decode(topic, key, frame(51, older, withoutRun))).toEqual({ ...purchase, event: { ...withoutRun, run_id: null } });
  });

  test('a newer writer\'s symbol is refused where we act on it and reads as unknown where we announce it', async () => {
    const registry = createMemoryRegistry();
    const revoked = sample('AssetsRevoked');
    const withSymbol = (type: EventType, field: string): string => changed(type, ({ fields }) => {
      const found = fields.find(({ name }) => name === field)?.type as { symbols: string[] }; // an enum
      found.symbols.push('of_tomorrow');
    });
    const [source, effect] = [withSymbol('Purchase', 'source'), withSymbol('AssetsRevoked', 'effect')];
    registry.add(subjectOf('Purchase'), source, 60);
    registry.add(subjectOf('AssetsRevoked'), effect, 61);
    const codec = createCodec({ registry });
    expect(await failureOf(() => codec.decode(topic, keyBytes(purchase), frame(60, source, { ...purchase.event, source: 'of_tomorrow' })))).toMatchObject({ kind: 'poison', code: 'FIELD_INVALID' });
    expect(await codec.decode('waybill.assets', keyBytes(revoked), frame(61, effect, { ...revoked.event, effect: 'of_tomorrow' }))).toMatchObject({ event: { effect: 'unknown' } });
  });
});
