import { describe, expect, test } from 'vitest';

import { AvroBytesError, checkerOf, type CanonicalSchema } from '../../schemas/avro-bytes.ts';
import { createReader, createWriter, parseSchema } from '../../schemas/avro.ts';

function codeOf(schema: CanonicalSchema, bytes: readonly number[]): string {
  try {
    checkerOf(schema)(Buffer.from(bytes));
    return 'sound';
  } catch (error) {
    if (error instanceof AvroBytesError) return error.code;
    throw error;
  }
}

const long = (value: number): number[] => [...createWriter(parseSchema('"long"'))(value)];
const texts = { type: 'array', items: 'string' } as const;

describe('bytes that would hang or kill a reader are refused at once (I17)', () => {
  test('a block count beyond what is left', () => {
    expect(codeOf(texts, long(2 ** 31))).toBe('BYTES_TRUNCATED');
    expect(codeOf(texts, long(2 ** 50))).toBe('BYTES_TRUNCATED');
    expect(codeOf(texts, [...long(-(2 ** 31)), ...long(0)])).toBe('BYTES_TRUNCATED');
    expect(codeOf({ type: 'map', values: 'long' }, long(2 ** 31))).toBe('BYTES_TRUNCATED');
    expect(codeOf({ type: 'array', items: 'null' }, [...long(-(2 ** 40)), ...long(0), ...long(0)])).toBe('BYTES_TRUNCATED');
  });

  test('a block size that leads backwards, or that is not the size of the block', () => {
    expect(codeOf(texts, [...long(-1), ...long(-2), ...long(0), ...long(0)])).toBe('FIELD_INVALID');
    expect(codeOf(texts, [...long(-1), ...long(7), ...long(0), ...long(0)])).toBe('FIELD_INVALID');
    expect(codeOf(texts, [...long(-1), ...long(1), ...long(0), ...long(0)])).toBe('sound');
  });

  test('a field that the reader skips is walked too', () => {
    const writer = parseSchema('{"type":"record","name":"A","fields":[{"name":"a","type":{"type":"array","items":"string"}}]}');
    const read = createReader(parseSchema('{"type":"record","name":"A","fields":[]}'), writer);
    expect(() => read(Buffer.from([...long(-1), ...long(-2)]))).toThrow(AvroBytesError);
    expect(read(Buffer.from([0]))).toEqual({});
  });

  test('a number that never ends', () => {
    expect(codeOf('long', Array.from({ length: 11 }, () => 0x80))).toBe('FIELD_INVALID');
    expect(codeOf('long', Array.from({ length: 9 }, () => 0x80))).toBe('BYTES_TRUNCATED');
  });
});

test.each([
  ['null', []],
  ['boolean', [1]],
  ['int', long(-7)],
  ['long', long(2 ** 52)],
  ['float', [0, 0, 0, 0]],
  ['double', [0, 0, 0, 0, 0, 0, 0, 0]],
  ['bytes', [4, 1, 2]],
  ['string', [4, 97, 98]],
  [['null', 'string'], [2, 2, 97]],
  [{ type: 'enum', name: 'E', symbols: ['a', 'b'] }, [2]],
  [{ type: 'fixed', name: 'F', size: 3 }, [1, 2, 3]],
  [texts, [2, 2, 97, 0]],
  [{ type: 'map', values: 'int' }, [2, 2, 97, 2, 0]],
  [{ type: 'record', name: 'R', fields: [{ name: 'next', type: ['null', 'R'] }] }, [2, 2, 0]],
] satisfies [CanonicalSchema, number[]][])('%j: whole bytes are sound, cut or continued ones are not', (schema, bytes) => {
  expect(codeOf(schema, bytes)).toBe('sound');
  expect(codeOf(schema, [...bytes, 0])).toBe('BYTES_TRUNCATED');
  for (let length = 0; length < bytes.length; length += 1) expect(codeOf(schema, bytes.slice(0, length))).toBe('BYTES_TRUNCATED');
});

test('a branch, symbol or boolean that does not exist, and a negative length, are invalid', () => {
  expect(codeOf(['null', 'string'], [4])).toBe('FIELD_INVALID');
  expect(codeOf({ type: 'enum', name: 'E', symbols: ['a'] }, [1])).toBe('FIELD_INVALID');
  expect(codeOf('boolean', [2])).toBe('FIELD_INVALID');
  expect(codeOf('string', [1])).toBe('FIELD_INVALID');
});
