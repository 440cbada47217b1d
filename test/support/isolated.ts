import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import { inject } from 'vitest';

/** What one test file has to itself on the shared stack. */
export interface Isolated {
  /** An empty database of its own. */
  databaseUrl: string;
  /** Put before every topic name; nobody else's topics begin with it. */
  topicPrefix: string;
  /** An empty bucket that exists. */
  bucket: string;
  /** Removes database, topics and bucket, whoever still uses them. Call it in afterAll. */
  drop(): Promise<void>;
}

/** In: a server other than that of the run's stack, if it is to be restarted. Out: a database, a topic prefix and a bucket that no other file shares. */
export async function isolate(databaseUrl: string = inject('stack').databaseUrl): Promise<Isolated> {
  const { s3, kafkaBrokers } = inject('stack');
  const id = randomBytes(6).toString('hex');
  const database = `test_${id}`;
  const topicPrefix = `test-${id}.`;
  const bucket = `test-${id}`;
  const store = new S3Client({
    endpoint: s3.endpoint,
    region: s3.region,
    forcePathStyle: true,
    credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
  });
  await Promise.all([administer(databaseUrl, `CREATE DATABASE ${database}`), store.send(new CreateBucketCommand({ Bucket: bucket }))]);
  const url = new URL(databaseUrl);
  url.pathname = `/${database}`;
  return {
    databaseUrl: url.href,
    topicPrefix,
    bucket,
    async drop() {
      await Promise.all([administer(databaseUrl, `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`), dropTopics(kafkaBrokers, topicPrefix), dropBucket(store, bucket)]);
      store.destroy();
    },
  };
}

async function administer(databaseUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function dropTopics(brokers: string[], prefix: string): Promise<void> {
  const admin = new Kafka({ brokers, clientId: 'tests', logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  } finally {
    await admin.disconnect();
  }
}

async function dropBucket(store: S3Client, bucket: string): Promise<void> {
  for (;;) {
    const { Contents: objects = [] } = await store.send(new ListObjectsV2Command({ Bucket: bucket }));
    const keys = objects.flatMap(({ Key }) => (Key === undefined ? [] : [{ Key }]));
    if (keys.length === 0) break;
    await store.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys, Quiet: true } }));
  }
  await store.send(new DeleteBucketCommand({ Bucket: bucket }));
}
