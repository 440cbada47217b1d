import { Partitioners } from 'kafkajs';
import { expect, test } from 'vitest';

import { aclCommands, aclsOf } from '../../adapters/kafka/acls.ts';
import { eventBytesMax, eventTypesOn, isTopic, topicOf, topics } from '../../schemas/topics.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { isEventType } from '../../schemas/topics.ts';

test('every event has one topic, and every topic but the dead letters carries events', () => {
  const types = Object.keys(schemas).filter(isEventType);
  expect(Object.keys(topics).filter(isTopic).flatMap(eventTypesOn).toSorted()).toEqual(types.toSorted());
  for (const type of types) expect(eventTypesOn(topicOf(type))).toContain(type);
  expect(eventTypesOn('waybill.dead-letters')).toEqual([]);
});

test('a topic takes the largest event with its key and headers', () => {
  for (const { maxMessageBytes } of Object.values(topics)) expect(maxMessageBytes).toBeGreaterThan(eventBytesMax + 1024);
});

test('keys fall where the Java client puts them (the hashes are those of Kafka\'s own tests)', () => {
  const partitions = 1000;
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, leader: 1, partitionErrorCode: 0, replicas: [1], isr: [1] }));
  const partition = Partitioners.DefaultPartitioner();
  for (const [key, hash] of [['21', -973932308], ['foobar', -790332482], ['a-little-bit-long-string', -985981536], ['a-little-bit-longer-string', -1486304829], ['abc', 479470107]] as const) {
    expect(partition({ topic: 't', partitionMetadata, message: { key, value: null } }), key).toBe((hash & 0x7fffffff) % partitions);
  }
});

test('only its owner may write a topic', () => {
  const acls = aclsOf('p.');
  for (const [name, { owner }] of Object.entries(topics)) {
    const writers = acls.filter((acl) => acl.name === `p.${name}` && acl.operations.includes('Write')).map(({ role }) => role);
    expect(writers).toEqual([owner]);
  }
  expect(aclCommands(acls, ['broker:9092'])).toContain(
    "kafka-acls.sh --bootstrap-server broker:9092 --add --allow-principal User:control-plane --operation Read --operation Describe --topic 'p.waybill.assets' --resource-pattern-type literal",
  );
});
