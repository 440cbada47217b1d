import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { describe, expect, test } from 'vitest';

import { Failure } from '../../process/failure.ts';
import { batchBytesMax, encodeRows } from '../../producers/encode-row.ts';
import { createNewestSeen } from '../../producers/newest-seen.ts';
import { createNudge } from '../../process/nudge.ts';
import type { OutboxRow } from '../../producers/outbox-rows.ts';
import { partitionOfKey } from '../../producers/partition-of-key.ts';
import { createCodec } from '../../schemas/codec.ts';
import { deriveEventId } from '../../schemas/ids.ts';
import { createMemoryRegistry } from '../support/memory-registry.ts';

describe('the partition of a key', () => {
  test('is that of the Java client, by the vectors of its own tests', () => {
    const vectors = {
      '21': -973932308, foobar: -790332482, 'a-little-bit-long-string': -985981536, 'a-little-bit-longer-string': -1486304829,
      lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971, abc: 479470107,
    };
    for (const [key, hash] of Object.entries(vectors)) expect(partitionOfKey(Buffer.from(key), 2 ** 31)).toBe(hash & 0x7fffffff);
  });

  test('is that of kafkajs, for any key and number of partitions', () => {
    const partitioner = kafkajs.Partitioners.DefaultPartitioner();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 64 }), (bytes, count) => {
      const key = Buffer.from(bytes);
      const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 1, isr: [], replicas: [], partitionErrorCode: 0 }));
      expect(partitionOfKey(key, count)).toBe(partitioner({ topic: 't', partitionMetadata, message: { key, value: null } }));
    }));
  });
});

describe('encoding rows of the outbox', () => {
  const row = (fields: Partial<OutboxRow>): OutboxRow =>
    ({ id: 1, shard: 0, eventId: deriveEventId('x', 'x', 1), topic: 'waybill.dead-letters', key: 'k', type: 'DeadLetter', body: null, value: Buffer.alloc(0), headers: {}, ...fields });
  const codec = createCodec({ registry: createMemoryRegistry() });

  test('a record as large as its topic takes in a batch passes, one byte more is EVENT_TOO_LARGE (I23)', async () => {
    const { outgoing: [empty] } = await encodeRows([row({})], codec);
    const room = batchBytesMax('waybill.dead-letters') - (empty?.bytes ?? 0);
    const { outgoing, refused } = await encodeRows([row({ value: Buffer.alloc(room) }), row({ value: Buffer.alloc(room + 1) })], codec);
    expect([outgoing.length, refused.map(({ refusal }) => refusal.code)]).toEqual([1, ['EVENT_TOO_LARGE']]);
  });

  test('a registry that is unwell is thrown and refuses nothing (I17)', async () => {
    const registry = createMemoryRegistry();
    registry.outage = new Failure('dependency', 'UNAVAILABLE', 'down');
    const body = JSON.stringify({
      event_id: deriveEventId('ChannelMoved', 'seo', 1), occurred_at: 0, caused_by: null, run_id: null, item_id: 'seo', channel: 'stable', version: '1.0.0', catalogue_version: 1,
    });
    const event = row({ topic: 'waybill.catalogue', key: 'seo', type: 'ChannelMoved', eventId: deriveEventId('ChannelMoved', 'seo', 1), value: null, body });
    await expect(encodeRows([event], createCodec({ registry }))).rejects.toMatchObject({ kind: 'dependency' });
    registry.outage = undefined;
    const { outgoing } = await encodeRows([event], createCodec({ registry }));
    expect(outgoing[0]?.headers).toEqual({ 'event-type': 'ChannelMoved', 'event-id': event.eventId });
  });
});

describe('a nudge', () => {
  const never = new AbortController().signal;
  const far = 60_000;

  test('ends a wait, also when it came before it, and once', async () => {
    const nudge = createNudge();
    nudge.nudge();
    await nudge.wait(far, never);
    const waiting = nudge.wait(far, never);
    nudge.nudge();
    await waiting;
    const started = performance.now();
    await nudge.wait(20, never);
    expect(performance.now() - started).toBeGreaterThan(15);
  });

  test('an aborted signal ends it, too', async () => {
    const abort = new AbortController();
    const nudge = createNudge();
    const waiting = nudge.wait(far, abort.signal);
    abort.abort();
    await waiting;
    await nudge.wait(far, abort.signal);
  });
});

test('the newest version seen is remembered per key, for as many keys as it holds (I6)', () => {
  const seen = createNewestSeen(2);
  seen.saw('a', 3);
  seen.saw('b', 1);
  seen.saw('a', 2);
  expect([seen.isNews('a', 3), seen.isNews('a', 4), seen.isNews('b', 1)]).toEqual([false, true, false]);
  seen.saw('c', 1);
  // b was seen longest ago.
  expect([seen.isNews('a', 3), seen.isNews('b', 1), seen.isNews('c', 1)]).toEqual([false, true, false]);
});
