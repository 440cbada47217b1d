import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { KMS } from '@aws-sdk/client-kms';
import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import type { StackConnections } from '../../stack/connections.ts';

const topic = 'kept';
const schema = JSON.stringify({ type: 'record', name: 'Kept', fields: [{ name: 'text', type: 'string' }] });

/** What was put into every service of a stack, to be found again. */
export interface Contents {
  offset: string;
  schemaId: number;
  object: string;
  row: string;
  keyArn: string;
  blob: Uint8Array;
}

const admin = ({ kafkaBrokers }: StackConnections) => new Kafka({ brokers: kafkaBrokers, clientId: 'tests', logLevel: logLevel.NOTHING });
const store = ({ s3: { endpoint, region, ...credentials } }: StackConnections): S3Client => new S3Client({ endpoint, region, credentials, forcePathStyle: true });
const keys = ({ kms: { endpoint, region, ...credentials } }: StackConnections): KMS => new KMS({ endpoint, region, credentials });

export async function fill(stack: StackConnections): Promise<Contents> {
  const producer = admin(stack).producer();
  const topics = admin(stack).admin();
  await Promise.all([producer.connect(), topics.connect()]);
  await topics.createTopics({ topics: [{ topic }] });
  await producer.send({ topic, messages: [{ value: 'one' }, { value: 'two' }] });
  await Promise.all([producer.disconnect(), topics.disconnect()]);
  await query(stack, "CREATE TABLE kept AS SELECT 'a row' AS text");
  await store(stack).send(new CreateBucketCommand({ Bucket: 'kept' }));
  await store(stack).send(new PutObjectCommand({ Bucket: 'kept', Key: 'a/b', Body: 'an object' }));
  const KeyId = (await keys(stack).createKey({})).KeyMetadata?.Arn ?? '';
  const { CiphertextBlob = new Uint8Array() } = await keys(stack).encrypt({ KeyId, Plaintext: Buffer.from('a secret') });
  return { offset: '2', schemaId: await schemaId(stack), object: 'an object', row: 'a row', keyArn: KeyId, blob: CiphertextBlob };
}

export async function read(stack: StackConnections, blob: Uint8Array): Promise<Contents> {
  const topics = admin(stack).admin();
  await topics.connect();
  const offsets = await topics.fetchTopicOffsets(topic);
  await topics.disconnect();
  const object = await store(stack).send(new GetObjectCommand({ Bucket: 'kept', Key: 'a/b' }));
  const opened = await keys(stack).decrypt({ CiphertextBlob: blob });
  return {
    offset: offsets[0]?.high ?? '',
    schemaId: await schemaId(stack),
    object: (await object.Body?.transformToString()) ?? '',
    row: await query(stack, 'SELECT text FROM kept'),
    keyArn: opened.KeyId ?? '',
    blob,
  };
}

/** Registering the same schema again answers its id. */
async function schemaId({ registryUrl }: StackConnections): Promise<number> {
  const answer = await fetch(`${registryUrl}/subjects/Kept/versions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ schema }) });
  const { id } = (await answer.json()) as { id: number };
  return id;
}

async function query({ databaseUrl }: StackConnections, sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ text: string }>(sql);
    return rows[0]?.text ?? '';
  } finally {
    await client.end();
  }
}
