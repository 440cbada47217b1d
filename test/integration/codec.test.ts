import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';

import { createRegistry } from '../../adapters/kafka/registry.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { migrate, rollback } from '../../process/migrate.ts';
import { checkRegistry } from '../../schemas/check.ts';
import { createCodec, subjectOf } from '../../schemas/codec.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { createKnownSchemas } from '../../schemas/known-schemas.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { registerSchemas, type RegistryAdmin } from '../../schemas/register-schemas.ts';
import { readExample } from '../../schemas/schema-files.ts';
import { isEventType, keyOf, topicOf, type TypedEvent } from '../../schemas/topics.ts';
import type { EventType } from '../../schemas/generated/events.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

const types = Object.keys(schemas).filter(isEventType);
const sample = <E extends EventType>(type: E): TypedEvent<E> => parseEvent(type, readExample(type, 1));
const keyBytes = (event: TypedEvent): Buffer => Buffer.from(keyOf(event));
const purchase = sample('Purchase');
const url = inject('stack').registryUrl;
const timeoutMs = 3_000;
const registry = createRegistry({ url, timeoutMs });

let isolated: Isolated;
let database: Database;
const servers: Server[] = [];

beforeAll(async () => {
  isolated = await isolate();
  database = openDatabase(isolated.databaseUrl);
  await migrate(database, ['outbox']);
  await registerSchemas({ registry });
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => { server.close(resolve); });
  }
});

afterAll(async () => {
  await database.destroy();
  await isolated.drop();
});

async function failureOf(work: () => unknown): Promise<Failure> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('did not fail');
}

/** A server on a free port; its URL. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return `http://127.0.0.1:${port}`;
}

/** The real registry with subjects of this test's own. */
function privately(): RegistryAdmin {
  const prefix = `test-${randomBytes(6).toString('hex')}.`;
  return {
    findSchema: (id) => registry.findSchema(id),
    findId: (subject, schema) => registry.findId(prefix + subject, schema),
    hasSubject: (subject) => registry.hasSubject(prefix + subject),
    findCompatibility: (subject) => registry.findCompatibility(prefix + subject),
    setCompatibility: (subject, level) => registry.setCompatibility(prefix + subject, level),
    findIncompatibility: (subject, schema) => registry.findIncompatibility(prefix + subject, schema),
    register: (subject, schema) => registry.register(prefix + subject, schema),
  };
}

describe('registering (A2)', () => {
  test('guards every subject with BACKWARD_TRANSITIVE, adds every schema, and changes nothing the second time', async () => {
    const mine = privately();
    const first = await registerSchemas({ registry: mine });
    expect(first.map(({ type, outcome }) => `${type} ${outcome}`)).toEqual(types.map((type) => `${type} registered`));
    const second = await registerSchemas({ registry: mine });
    expect(second).toEqual(first.map((row) => ({ ...row, outcome: 'unchanged' })));
    for (const type of types) expect(await mine.findCompatibility(subjectOf(type))).toBe('BACKWARD_TRANSITIVE');
    expect(await checkRegistry(mine)).toEqual([]);
  });

  test('sets the rule of a subject that has none or another, and the check says so before', async () => {
    const mine = privately();
    await registerSchemas({ registry: mine });
    await mine.setCompatibility(subjectOf('Purchase'), 'NONE');
    expect(await checkRegistry(mine)).toEqual([expect.stringContaining('has the compatibility NONE')]);
    await registerSchemas({ registry: mine });
    expect(await checkRegistry(mine)).toEqual([]);
  });

  test('is refused as a whole when the registry holds what a bundled schema cannot read', async () => {
    const mine = privately();
    const other = schemas.Revoke.replace('"name":"policy"', '"name":"release"');
    await mine.setCompatibility(subjectOf('Revoke'), 'BACKWARD_TRANSITIVE');
    await mine.register(subjectOf('Revoke'), other);
    const failure = await failureOf(() => registerSchemas({ registry: mine }));
    expect(failure).toMatchObject({ kind: 'input', code: 'SCHEMA_INCOMPATIBLE' });
    expect(failure.message).toContain(subjectOf('Revoke'));
    expect(await mine.hasSubject(subjectOf('Purchase'))).toBe(false);
    expect(await checkRegistry(mine)).toEqual([expect.stringContaining('refuses the schema')]);
    expect(await failureOf(() => mine.register(subjectOf('Revoke'), schemas.Revoke))).toMatchObject({ kind: 'input', code: 'SCHEMA_INCOMPATIBLE' });
  });
});

describe('on the wire', () => {
  test.each(types)('%s goes from one process to another', async (type) => {
    const event = sample(type);
    const bytes = await createCodec({ registry }).encode(event);
    expect(bytes[0]).toBe(0);
    expect(await createCodec({ registry }).decode(topicOf(type), keyBytes(event), bytes)).toEqual(event);
  });

  test('an id that the registry does not have is poison', async () => {
    const value = Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 2]);
    expect(await failureOf(() => createCodec({ registry }).decode('marketplace.entitlements', keyBytes(purchase), value))).toMatchObject({ kind: 'poison', code: 'SCHEMA_UNKNOWN' });
  });

  test('a schema of another language is poison', async () => {
    const subject = `test-${randomBytes(6).toString('hex')}`;
    const response = await fetch(`${url}/subjects/${subject}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schemaType: 'JSON', schema: '{"type":"object","properties":{"a":{"type":"string"}}}' }),
    });
    const { id } = await response.json() as { id: number }; // Confluent's API
    const value = Buffer.alloc(6);
    value.writeInt32BE(id, 1);
    expect(await failureOf(() => createCodec({ registry }).decode('marketplace.entitlements', keyBytes(purchase), value))).toMatchObject({ kind: 'poison', code: 'SCHEMA_MISMATCH' });
  });
});

describe('while the registry is unwell, nothing is poison (I17)', () => {
  const bytesOf = async (event: TypedEvent): Promise<Buffer> => await createCodec({ registry }).encode(event);
  const expectUnavailable = async (badUrl: string, deadlineMs = 500): Promise<void> => {
    const codec = createCodec({ registry: createRegistry({ url: badUrl, timeoutMs: deadlineMs }) });
    const value = await bytesOf(purchase);
    const started = performance.now();
    expect(await failureOf(() => codec.decode('marketplace.entitlements', keyBytes(purchase), value))).toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect(await failureOf(() => codec.encode(purchase))).toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect(performance.now() - started).toBeLessThan(2 * deadlineMs + 1_000);
  };

  test('nobody listens', async () => {
    const address = await serve(() => undefined);
    await new Promise((resolve) => { servers.pop()?.close(resolve); });
    await expectUnavailable(address);
  });

  test('it takes the request and never answers', async () => {
    await expectUnavailable(await serve(() => undefined));
  });

  test('it begins an answer and does not end it', async () => {
    await expectUnavailable(await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100000' });
      response.write('{"schema":');
    }));
  });

  test('it answers 500, 401 or something else altogether', async () => {
    await expectUnavailable(await serve((_request, response) => { response.writeHead(500).end('{}'); }));
    await expectUnavailable(await serve((_request, response) => { response.writeHead(401, { 'content-type': 'application/json' }).end('{"message":"no"}'); }));
  });

  test('it is another registry, or the wrong path: 404 for everything', async () => {
    const address = await serve((_request, response) => { response.writeHead(404, { 'content-type': 'application/json' }).end('{"error_code":40403,"message":"no"}'); });
    const codec = createCodec({ registry: createRegistry({ url: address, timeoutMs }) });
    const value = await bytesOf(purchase);
    expect(await failureOf(() => codec.decode('marketplace.entitlements', keyBytes(purchase), value))).toMatchObject({ kind: 'dependency', code: 'SCHEMA_UNKNOWN' });
    expect(await failureOf(() => codec.encode(purchase))).toMatchObject({ kind: 'dependency', code: 'SCHEMA_UNKNOWN' });
  });

  test('a hung request is not handed on: the same codec goes on when the registry answers again', async () => {
    let hung = true;
    const address = await serve((request, response) => {
      if (hung) return;
      void fetch(url + (request.url ?? '')).then(async (answer) => response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text()));
    });
    const codec = createCodec({ registry: createRegistry({ url: address, timeoutMs: 500 }) });
    const value = await bytesOf(purchase);
    const decode = async (): Promise<TypedEvent> => await codec.decode('marketplace.entitlements', keyBytes(purchase), value);
    expect(await failureOf(decode)).toMatchObject({ code: 'UNAVAILABLE' });
    hung = false;
    expect(await decode()).toEqual(purchase);
  });
});

describe('what the registry said is kept in PostgreSQL', () => {
  test('a process that starts while the registry is down reads and writes all known traffic', async () => {
    const address = await serve(() => undefined);
    const known = createKnownSchemas(database, url);
    await registerSchemas({ registry, known });
    const bytes = await Promise.all(types.map((type) => createCodec({ registry }).encode(sample(type))));
    const codec = createCodec({ registry: createRegistry({ url: address, timeoutMs: 200 }), known: createKnownSchemas(database, url) });
    for (const [index, type] of types.entries()) {
      expect(await codec.encode(sample(type))).toEqual(bytes[index]);
      expect(await codec.decode(topicOf(type), keyBytes(sample(type)), bytes[index] ?? null)).toEqual(sample(type));
    }
  });

  test('a reader keeps what it meets, and a writer all that it will need', async () => {
    const mine = `${url}#${randomBytes(4).toString('hex')}`;
    const known = createKnownSchemas(database, mine);
    const bytes = await createCodec({ registry }).encode(purchase);
    await createCodec({ registry, known }).decode('marketplace.entitlements', keyBytes(purchase), bytes);
    expect(await known.load()).toHaveLength(1);
    await createCodec({ registry, known }).encode(purchase);
    expect(await known.load()).toHaveLength(types.length);
  });

  test('ids of another registry are not taken for this one\'s', async () => {
    const known = createKnownSchemas(database, 'http://another.example/');
    expect(await known.load()).toEqual([]);
  });

  test('a registry that was replaced, and gives old ids to other schemas, is told to a person', async () => {
    const known = createKnownSchemas(database, 'http://replaced.example/');
    await known.save([{ id: 1, canonical: '"string"' }, { id: 2, canonical: '"long"' }]);
    await known.save([{ id: 2, canonical: '"long"' }, { id: 3, canonical: '"int"' }]);
    const failure = await failureOf(() => known.save([{ id: 3, canonical: '"int"' }, { id: 1, canonical: '"int"' }]));
    expect(failure).toMatchObject({ kind: 'dependency', code: 'CONFLICT' });
    expect(failure.message).toContain('id 1');
    expect(await known.load()).toHaveLength(3);
  });

  test('two processes that learn the same at once do not disturb each other', async () => {
    const known = createKnownSchemas(database, 'http://race.example/');
    const rows = Array.from({ length: 50 }, (_, id) => ({ id: id + 1, canonical: `"${id}"` }));
    await Promise.all(Array.from({ length: 8 }, (_, i) => known.save(i % 2 === 0 ? rows : rows.toReversed())));
    expect(await known.load()).toEqual(rows);
  });

  test('the database down is a dependency failure', async () => {
    const gone = openDatabase('postgres://postgres@127.0.0.1:1/none');
    expect(await failureOf(() => createCodec({ registry, known: createKnownSchemas(gone, url) }).encode(purchase))).toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    await gone.destroy();
  });

  test('the migration goes back and forth', async () => {
    await rollback(database, ['outbox']);
    await migrate(database, ['outbox']);
    expect(await createKnownSchemas(database, url).load()).toEqual([]);
  });
});
