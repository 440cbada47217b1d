import { describe, expect, test } from 'vitest';

import { createReader, parseSchema } from '../../schemas/avro.ts';
import { checkSchemas, findProblems } from '../../schemas/check.ts';
import { createCodec, subjectOf } from '../../schemas/codec.ts';
import type { AvroField, AvroRecord, AvroType } from '../../schemas/compatibility.ts';
import { readReleases, readSchema, readTypes, type Release } from '../../schemas/schema-files.ts';
import { isEventType, keyOf, topicOf } from '../../schemas/topics.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { createMemoryRegistry } from '../support/memory-registry.ts';

const types = readTypes().filter(isEventType);

test('the committed schemas have no problem', () => {
  expect(checkSchemas()).toEqual([]);
});

describe.each(types)('golden bytes of %s', (type) => {
  const releases = readReleases(type);

  test('what was ever published still reads as it did, and reads with the newest schema', async () => {
    const registry = createMemoryRegistry({ empty: true });
    const codec = createCodec({ registry });
    for (const { version, schema, example, bytes } of releases) {
      const avro = parseSchema(JSON.stringify(schema));
      expect(createReader(avro, avro)(bytes ?? Buffer.alloc(0))).toEqual(example);
      registry.add(subjectOf(type), JSON.stringify(schema), version);
      const newest = parseEvent(type, createReader(parseSchema(JSON.stringify(readSchema(type))), avro)(bytes ?? Buffer.alloc(0)));
      const value = Buffer.concat([Buffer.from([0, 0, 0, 0, version]), bytes ?? Buffer.alloc(0)]);
      expect(await codec.decode(topicOf(type), Buffer.from(keyOf(newest)), value)).toEqual(newest);
    }
  });

  test('the newest example is encoded to the same bytes', async () => {
    const newest = releases.at(-1);
    const encoded = await createCodec({ registry: createMemoryRegistry() }).encode(parseEvent(type, newest?.example));
    expect(encoded.subarray(5).toString('hex')).toBe(newest?.bytes?.toString('hex'));
  });
});

describe('A2: a change that the log does not survive is refused without a server', () => {
  const schema = readSchema('Purchase');
  const older = readReleases('Purchase');
  const withFields = (fields: readonly AvroField[]): AvroRecord => ({ ...schema, fields });
  const replacing = (name: string, type: AvroType): AvroRecord => withFields(schema.fields.map((field) => (field.name === name ? { ...field, type } : field)));
  const added = (field: AvroField): AvroRecord => withFields([...schema.fields, field]);
  /** The problems, with the change taken as released, so that only what it breaks is left. */
  const problemsOf = (changed: AvroRecord): string[] => findProblems('Purchase', changed, [...older, release(changed, older.length + 1)]);

  function release(changed: AvroRecord, version: number): Release {
    return { version, schema: changed, example: {}, bytes: Buffer.alloc(0) };
  }

  test('a new field with a default is fine, one without is not', () => {
    expect(problemsOf(added({ name: 'gift', type: 'boolean', default: false, doc: 'A gift.' }))).toEqual([]);
    expect(problemsOf(added({ name: 'gift', type: 'boolean', doc: 'A gift.' })).join('\n')).toContain('version 1: cannot read what was written before');
  });

  test('a field renamed, its type changed, or the moment\'s unit changed', () => {
    expect(problemsOf(withFields(schema.fields.map((field) => (field.name === 'policy' ? { ...field, name: 'channel' } : field))))).not.toEqual([]);
    expect(problemsOf(replacing('policy', 'long'))).not.toEqual([]);
    expect(problemsOf(replacing('valid_from', { type: 'long', logicalType: 'timestamp-micros' })).join('\n')).toContain('valid_from: was timestamp-millis and is timestamp-micros');
    expect(problemsOf(replacing('valid_until', ['null', 'long'])).join('\n')).toContain('valid_until: was timestamp-millis and is a plain long');
  });

  test('an enum may grow, and neither shrink nor lose its default', () => {
    const source = schema.fields.find(({ name }) => name === 'source')?.type;
    if (typeof source !== 'object' || !('symbols' in source)) throw new Error('source is an enum');
    expect(problemsOf(replacing('source', { ...source, symbols: [...source.symbols, 'voucher'] }))).toEqual([]);
    expect(problemsOf(replacing('source', { ...source, symbols: source.symbols.filter((symbol) => symbol !== 'grant') })).join('\n')).toContain('has lost grant');
    const { default: _default, ...without } = source;
    expect(problemsOf(replacing('source', without)).join('\n')).toContain('needs the symbol and default "unknown"');
  });

  test('against every version, not only the last', () => {
    const second = withFields(schema.fields.filter(({ name }) => name !== 'source'));
    const third = added({ name: 'note', type: 'string', default: '', doc: 'A note.' });
    const history = [...older, release(second, 2), release(third, 3)];
    expect(findProblems('Purchase', third, history).join('\n')).toContain('version 2: cannot read');
    expect(findProblems('Purchase', third, [...older, release(third, 2)])).toEqual([]);
  });

  test('an event taken away, never released, changed since, or without its example', () => {
    expect(findProblems('Purchase', undefined, older)).toHaveLength(1);
    expect(findProblems('Purchase', schema, []).join()).toContain('npm run schemas:release');
    expect(findProblems('Purchase', added({ name: 'gift', type: 'boolean', default: false, doc: 'A gift.' }), older).join()).toContain('npm run schemas:release');
    expect(findProblems('Purchase', schema, older.map(({ version, schema: kept, example }) => ({ version, schema: kept, example, bytes: undefined }))).join()).toContain('1.bin');
  });

  test('a corrected sentence is no new version; a missing one is a fault, as are strange unions and names', () => {
    expect(findProblems('Purchase', { ...schema, doc: 'Other words.' }, older)).toEqual([]);
    expect(problemsOf(added({ name: 'gift', type: 'boolean', default: false })).join()).toContain('gift has no doc');
    expect(problemsOf(added({ name: 'gift', type: ['null', 'string', 'long'], default: null, doc: 'A gift.' })).join()).toContain('a union');
    expect(problemsOf({ ...schema, name: 'Sale' }).join()).toContain('io.waybill.events.Purchase');
    expect(problemsOf(added({ name: 'event_id', type: 'string', default: '', doc: 'Twice.' })).join()).toContain('is not Avro');
  });
});
