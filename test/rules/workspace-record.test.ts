import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { asksForAnything, namedItems, recordOf, type RecordEvent, type WorkspaceRecord } from '../../delivery/workspace-record.ts';
import { bucketOf, compareVersioned, decide, foldBatch } from '../../entitlements/decide.ts';
import { parseItemId } from '../../schemas/ids.ts';
import { historyTwice, provisioned, recordEvent } from '../support/histories.ts';

const none = new Map<string, WorkspaceRecord>();
const fold = (events: readonly RecordEvent[], held: ReadonlyMap<string, WorkspaceRecord> = none): Map<string, WorkspaceRecord> =>
  new Map([...held, ...foldBatch(held, events, recordOf, (record) => record.workspaceId).changed]);
const sorted = (records: ReadonlyMap<string, WorkspaceRecord>): [string, WorkspaceRecord][] => [...records].toSorted(([a], [b]) => (a < b ? -1 : 1));
const template = parseItemId('seo-agent');
const plugin = parseItemId('house-rules');

describe('what wins between two events of one workspace', () => {
  test('the higher record_version, however late the lower one comes', () => {
    const [old, current] = [provisioned({ template }), provisioned({ record_version: 2 })].map(recordOf);
    expect(decide(old, current ?? expect.fail()).kind).toBe('changed');
    expect(decide(current, old ?? expect.fail())).toEqual({ kind: 'unchanged', reason: 'superseded' });
  });

  test('the type of the event is not content: the same record under another name is a duplicate', () => {
    const event = provisioned({ template });
    const renamed: RecordEvent = { ...event, type: 'TemplateChanged' };
    expect(decide(recordOf(event), recordOf(renamed))).toEqual({ kind: 'unchanged', reason: 'duplicate' });
  });

  test('A6: a removal of the same version wins, in both orders, and both are reported', () => {
    const [live, removed] = [recordOf(provisioned({ template })), recordOf(provisioned({ status: 'removed' }))];
    expect(decide(live, removed)).toEqual({ kind: 'changed', next: removed, conflict: live });
    expect(decide(removed, live)).toEqual({ kind: 'unchanged', reason: 'conflict', conflict: live });
    expect(bucketOf(decide(live, removed))).toBe('conflict');
  });

  test('I2: a tombstone is reopened only by a higher version', () => {
    const removed = recordOf(provisioned({ status: 'removed', record_version: 2 }));
    expect(decide(removed, recordOf(provisioned({ record_version: 1 }))).kind).toBe('unchanged');
    expect(decide(removed, recordOf(provisioned({ record_version: 3 }))).kind).toBe('changed');
  });

  test.each([
    ['template', { template }], ['plugins', { plugins: [plugin] }], ['status', { status: 'online' as const }], ['epoch', { epoch: 2 }],
    ['generation', { generation: 2 }], ['delivery_mode', { delivery_mode: 'box' as const }], ['origin', { origin: 'backfill' as const }],
  ])('whatever is stored is in the digest: another %s is another content', (_, fields) => {
    expect(recordOf(provisioned(fields)).digest).not.toBe(recordOf(provisioned()).digest);
  });
});

describe('what a record names', () => {
  test('is its template and its plugins, sorted and once each', () => {
    expect(namedItems(recordOf(provisioned({ template, plugins: [plugin, template] })))).toEqual([plugin, template]);
  });

  test('is nothing once the workspace is removed, although it did ask for something', () => {
    const removed = recordOf(provisioned({ template, status: 'removed' }));
    expect(namedItems(removed)).toEqual([]);
    expect(asksForAnything(removed)).toBe(true);
  });

  test('C6: neither template nor plugins asks for nothing', () => {
    expect(asksForAnything(recordOf(provisioned()))).toBe(false);
    expect(asksForAnything(recordOf(provisioned({ plugins: [plugin] })))).toBe(true);
  });
});

describe('any history of records', () => {
  test('I1: comes to the same state in every order, with any repetition', () => {
    fc.assert(fc.property(historyTwice(recordEvent), ({ first, second }) => {
      expect(sorted(fold(second))).toEqual(sorted(fold(first)));
    }), { numRuns: 500 });
  });

  test('I1: comes to the same state however it is cut into batches, and when a part of it is replayed', () => {
    fc.assert(fc.property(fc.array(recordEvent, { maxLength: 30 }), fc.nat(30), fc.nat(30), (events, cut, from) => {
      const inTwo = fold(events.slice(cut), fold(events.slice(0, cut)));
      expect(sorted(inTwo)).toEqual(sorted(fold(events)));
      expect(sorted(fold(events.slice(from), inTwo))).toEqual(sorted(inTwo));
    }), { numRuns: 500 });
  });

  test('I2: never takes a version back', () => {
    fc.assert(fc.property(fc.array(recordEvent), (events) => {
      let held: ReadonlyMap<string, WorkspaceRecord> = none;
      for (const event of events) {
        const before = held;
        held = fold([event], held);
        for (const [key, record] of held) expect(compareVersioned(record, before.get(key) ?? record)).toBeGreaterThanOrEqual(0);
      }
    }));
  });
});
