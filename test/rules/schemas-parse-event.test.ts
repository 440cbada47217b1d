import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FieldError, longMax } from '../../schemas/ids.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { readExample, readTypes } from '../../schemas/schema-files.ts';
import { isEventType, keyOf, versionOf } from '../../schemas/topics.ts';
import type { EventType } from '../../schemas/generated/events.ts';
import { arbitraryEvent } from '../support/arbitrary-events.ts';

const types = readTypes().filter(isEventType);
const example = (type: EventType): Record<string, unknown> => structuredClone(readExample(type, 1)) as Record<string, unknown>; // a committed file

function refusal(type: EventType, change: Record<string, unknown>, reading: 'strict' | 'tolerant' = 'strict'): { field: string; code: string; message: string } {
  try {
    parseEvent(type, { ...example(type), ...change }, reading);
  } catch (error) {
    if (error instanceof FieldError) return { field: error.field, code: error.code, message: error.message };
    throw error;
  }
  throw new Error('was accepted');
}
const accepted = (type: EventType, change: Record<string, unknown>, reading: 'strict' | 'tolerant' = 'strict'): unknown =>
  parseEvent(type, { ...example(type), ...change }, reading).event;

describe.each(types)('%s', (type) => {
  test('what is valid comes back as it was', () => {
    fc.assert(fc.property(arbitraryEvent(type), (json) => {
      expect(parseEvent(type, json)).toEqual({ type, event: json });
    }), { numRuns: 50 });
  });

  test('every field has to be there, and no other', () => {
    for (const field of Object.keys(example(type))) {
      expect(refusal(type, { [field]: undefined }).field, field).toBe(field);
    }
    expect(refusal(type, { surprise: 1 })).toMatchObject({ field: 'surprise', code: 'FIELD_INVALID' });
    expect(refusal(type, JSON.parse('{"__proto__": {}}') as Record<string, unknown>).field).toBe('__proto__');
  });

  test('no field takes a value of another kind, and nothing but FieldError is thrown', () => {
    const strange = [undefined, null, '', 'x', 0, -1, 1.5, Number.NaN, true, [], {}, [null], [''], '\0', 'A'.repeat(300), longMax + 1];
    for (const field of Object.keys(example(type))) {
      const before = example(type)[field];
      const refused = strange.filter((value) => {
        try {
          parseEvent(type, { ...example(type), [field]: value });
          return false;
        } catch (error) {
          expect(error).toBeInstanceOf(FieldError);
          return true;
        }
      });
      // At most null, [] or a small number may be right where the example has something else.
      expect(refused.length, `${field} = ${JSON.stringify(before)}`).toBeGreaterThanOrEqual(strange.length - 4);
    }
    for (const value of [null, undefined, 'text', 7, []]) expect(() => parseEvent(type, value)).toThrow(FieldError);
  });

  test('a key and a version follow from it', () => {
    const event = parseEvent(type, example(type));
    expect(keyOf(event)).toMatch(/^[a-z0-9-]+(?:\/[a-z0-9-]+)?$/u);
    expect(versionOf(event)).toBeGreaterThan(0);
  });
});

describe('bounds (I23)', () => {
  test('a version is accepted up to 2^53 - 2 and is an overflow beyond, told apart from other faults', () => {
    expect(accepted('Purchase', { entitlement_version: longMax })).toMatchObject({ entitlement_version: longMax });
    for (const beyond of [longMax + 1, 2 ** 53, 2 ** 63, 1e300]) {
      expect(refusal('Purchase', { entitlement_version: beyond })).toMatchObject({ field: 'entitlement_version', code: 'LONG_OVERFLOW' });
      expect(refusal('Purchase', { occurred_at: beyond })).toMatchObject({ field: 'occurred_at', code: 'LONG_OVERFLOW' });
      expect(refusal('AssetsReady', { user_files_count: -beyond })).toMatchObject({ code: 'LONG_OVERFLOW' });
    }
    expect(refusal('Purchase', { entitlement_version: 0 }).code).toBe('FIELD_INVALID');
    expect(refusal('Purchase', { occurred_at: Date.UTC(10_000, 0, 1) }).code).toBe('FIELD_INVALID');
    expect(refusal('AssetsRejected', { attempts: 2 ** 31 }).code).toBe('FIELD_INVALID');
    expect(accepted('AssetsRejected', { attempts: 2 ** 31 - 1 })).toBeDefined();
  });

  test('a workspace has at most 100 plugins, sorted and without repeats', () => {
    const plugins = Array.from({ length: 101 }, (_, i) => `plugin-${String(i).padStart(3, '0')}`);
    expect(accepted('PluginsChanged', { plugins: plugins.slice(0, 100) })).toBeDefined();
    expect(refusal('PluginsChanged', { plugins }).field).toBe('plugins');
    expect(refusal('PluginsChanged', { plugins: ['b', 'a'] })).toMatchObject({ field: 'plugins[1]' });
    expect(refusal('PluginsChanged', { plugins: ['a', 'a'] })).toMatchObject({ field: 'plugins[1]' });
  });

  test('a path is at most 512 bytes of well-formed text', () => {
    const withPath = (path: string) => ({ user_files_paths: [path] });
    expect(accepted('AssetsReady', withPath('ü'.repeat(256)))).toBeDefined();
    for (const path of ['ü'.repeat(257), 'half a \ud83d', 'nul \0', '']) expect(refusal('AssetsReady', withPath(path)).field).toBe('user_files_paths[0]');
  });
});

describe('fields together', () => {
  test('a line ends after it begins', () => {
    expect(refusal('Purchase', { valid_from: 5, valid_until: 5 }).field).toBe('valid_until');
    expect(refusal('Revoke', { valid_from: 5, valid_until: 4 }).field).toBe('valid_until');
    expect(accepted('Purchase', { valid_from: 5, valid_until: 6 })).toBeDefined();
  });

  test('what an entitlement says of itself agrees', () => {
    expect(refusal('EntitlementChanged', { entitled: true }).field).toBe('policy');
    expect(refusal('EntitlementChanged', { entitled: true, policy: 'stable' }).field).toBe('reason');
    expect(refusal('EntitlementChanged', { valid_until: 1 }).field).toBe('valid_until');
    expect(refusal('EntitlementChanged', { lines: [{ purchase_id: 'p', entitlement_version: 1, live: true }] }).field).toBe('entitled');
    expect(refusal('EntitlementChanged', { lines: [{ purchase_id: 'p', entitlement_version: 1, live: 'no' }] }).field).toBe('lines[0].live');
  });

  test('user files are counted, digested and listed alike', () => {
    expect(refusal('AssetsReady', { user_files_count: 2 }).field).toBe('user_files_paths');
    expect(refusal('AssetsReady', { user_files_sha256: null }).field).toBe('user_files_sha256');
    const paths = Array.from({ length: 100 }, (_, i) => String(i).padStart(3, '0'));
    expect(accepted('AssetsReady', { user_files_count: 250, user_files_paths: paths })).toBeDefined();
  });
});

describe('symbols', () => {
  test('nobody writes "unknown"', () => {
    expect(refusal('Purchase', { source: 'unknown' }).field).toBe('source');
    expect(refusal('AssetsRevoked', { effect: 'unknown' }).field).toBe('effect');
  });

  test('a tolerant reader lives with a symbol and a code that a newer waybill added, and with nothing else', () => {
    expect(accepted('AssetsRevoked', { effect: 'unknown', reason: 'unknown' }, 'tolerant')).toMatchObject({ effect: 'unknown' });
    expect(accepted('AssetsRejected', { code: 'A_CODE_OF_TOMORROW' }, 'tolerant')).toBeDefined();
    expect(refusal('AssetsRejected', { code: 'A_CODE_OF_TOMORROW' }).field).toBe('code');
    expect(refusal('AssetsRejected', { code: 'not a code' }, 'tolerant').field).toBe('code');
    expect(refusal('AssetsRevoked', { effect: 'vanished' }, 'tolerant').field).toBe('effect');
  });
});
