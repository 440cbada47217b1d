import { Partitioners } from 'kafkajs';
import { expect, test } from 'vitest';

import { aclCommands, aclsOf } from '../../adapters/kafka/acls.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { readExample } from '../../schemas/schema-files.ts';
import { eventBytesMax, eventTypesOn, isEventType, isTopic, keyOf, topicOf, topics, versionOf } from '../../schemas/topics.ts';

test('every event has one topic, and every topic but the dead letters carries events', () => {
  const types = Object.keys(schemas).filter(isEventType);
  expect(Object.keys(topics).filter(isTopic).flatMap(eventTypesOn).toSorted()).toEqual(types.toSorted());
  for (const type of types) expect(eventTypesOn(topicOf(type))).toContain(type);
  expect(eventTypesOn('waybill.dead-letters')).toEqual([]);
});

test('keys and versions are those of the contract', () => {
  const org = '0b7f6a52-9c1d-4e83-8a54-6f2f0c3d9e11';
  const workspace = '5d3c8e70-1f2b-4a69-9b7d-2c8e4f6a0b13';
  const row = (type: string): [string, number] => {
    if (!isEventType(type)) throw new Error(type);
    const event = parseEvent(type, readExample(type, 1));
    return [keyOf(event), versionOf(event)];
  };
  expect(row('Purchase')).toEqual([`${org}/seo-agent`, 3]);
  expect(row('Revoke')).toEqual([`${org}/seo-agent`, 4]);
  expect(row('EntitlementChanged')).toEqual([`${org}/seo-agent`, 6]);
  expect(row('WorkspaceProvisioned')).toEqual([workspace, 9]);
  expect(row('AssetsReady')).toEqual([workspace, 12]);
  expect(row('RestartRequested')).toEqual([workspace, 15]);
  expect(row('ItemChanged')).toEqual(['seo-agent', 1]);
  expect(row('ChannelMoved')).toEqual(['seo-agent', 3]);
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
