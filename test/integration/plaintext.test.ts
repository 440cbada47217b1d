import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { topics, type TopicName } from '../../schemas/topics.ts';
import { collect } from '../support/collector.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';
import { expireLeases } from '../support/fault-run.ts';
import { filesBelow, hitsIn, rowsOfAllTables, spellingsInDump, spellingsOf, type Place } from '../support/plaintext-scan.ts';
import { startRole } from '../support/role-process.ts';
import { openTopics, startWorldRelay, worldKafka } from '../support/world-relay.ts';

/**
 * I9: a marked release is bought, refused, delivered by a real process that is killed on the way, and taken away again. Then
 * every place that somebody could read is searched for it.
 */
const mark = `MARK ${randomBytes(32).toString('hex')} KRAM`;
const spellings = spellingsOf(mark);
const kills = ['unseal', 'build', 'permit:committed', 'apply', 'finish:commit', 'settle'];

let temporary: string;
let world: DeliveryWorld;
let entitled: string;
const logs: Place[] = [];

beforeAll(async () => {
  temporary = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-plaintext-')));
  vi.stubEnv('TMPDIR', temporary);
  world = await DeliveryWorld.open();
  await world.publish('marked', '1.0.0', { 'system-prompt.md': `${mark}\n`, 'config.yaml': `temperature: 0.2\n# ${mark}\n`, 'skills/a/SKILL.md': `---\nname: a\ndescription: A.\n---\n${mark}\n` });
});
afterAll(async () => {
  await world.close();
  vi.unstubAllEnvs();
  rmSync(temporary, { recursive: true, force: true });
});

/** What the platform read it from, and the volume of who may hold it. */
const allowed = (path: string): boolean => path === world.volume(entitled) || path === join(world.folder, 'marked.git');

async function objects(): Promise<Place[]> {
  const { s3 } = inject('stack');
  const client = new S3Client({ endpoint: s3.endpoint, region: s3.region, forcePathStyle: true, credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey } });
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: world.isolated.bucket }));
  const places = await Promise.all(Contents.map(async ({ Key = '' }): Promise<Place> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: world.isolated.bucket, Key }));
    return [`object ${Key}`, Buffer.from(await Body?.transformToByteArray() ?? [])];
  }));
  client.destroy();
  return places;
}

/** Everything that was said, as the relay publishes it, raw from every topic. */
async function records(): Promise<Place[]> {
  const codec = await openTopics(world);
  const relay = startWorldRelay(world, codec);
  const names = Object.keys(topics) as TopicName[]; // the keys of the table
  const collector = await collect(worldKafka, world.isolated.topicPrefix, names);
  const { rows: [outbox] } = await world.database.raw<{ rows: [{ n: number }] }>('select count(*) as n from waybill_outbox');
  await collector.until((found) => found.length >= outbox.n);
  await collector.stop();
  await relay.stop();
  return collector.records.map((record): Place => [`record of ${record.topic}`, Buffer.concat([Buffer.from(record.key), record.value, Buffer.from(JSON.stringify(record.headers))])]);
}

describe('plaintext of a sold release (I9)', () => {
  test('lies with who bought it, and is refused to who did not', async () => {
    await world.line('marked');
    entitled = await world.online('marked');
    expect(hitsIn(filesBelow(world.volume(entitled), () => false), spellings).length).toBeGreaterThanOrEqual(3);
    world.org = randomUUID();
    const unentitled = randomUUID();
    await world.record(unentitled, { template: 'marked' });
    await world.settle();
    expect((await world.said(unentitled)).at(-1)?.body).toMatchObject({ code: 'NOT_ENTITLED' });
  });

  test.each(kills)('is gone from a workspace whose delivery was killed at %s and whose purchase was then fraud', async (step) => {
    world.org = randomUUID();
    await world.line('marked');
    const workspace = randomUUID();
    await world.record(workspace, { template: 'marked' });
    const role = startRole(world, { fault: { step, nth: 1, signal: 'SIGKILL' } });
    expect(await role.ended).toBe('SIGKILL');
    logs.push([`log of the process killed at ${step}`, Buffer.from(role.said())]);
    await expireLeases(world);
    await world.line('marked', 'fraud');
    await world.settle();
    expect(hitsIn(filesBelow(world.volume(workspace), () => false), spellings)).toEqual([]);
  });

  test('is nowhere else: temporary folders, other volumes, logs, tables, outbox, dead letters, topics, objects', { timeout: 60_000 }, async () => {
    const places = [...filesBelow(temporary, allowed), ...logs, ...await rowsOfAllTables(world.database), ...await objects(), ...await records()];
    // A scan of nothing finds nothing.
    const kinds = ['table ', 'object ', 'record of waybill.assets', 'log of ', temporary];
    expect(kinds.filter((kind) => !places.some(([where]) => where.startsWith(kind)))).toEqual([]);
    expect(hitsIn(places, spellingsInDump(spellings))).toEqual([]);
  });

  test('the scan finds it in each spelling, in a file and in a row', async () => {
    for (const [name, spelling] of spellings) {
      const path = join(temporary, 'planted');
      writeFileSync(path, Buffer.concat([randomBytes(7), spelling, randomBytes(5)]));
      expect(hitsIn(filesBelow(temporary, allowed), spellings), name).toContain(`${path}: ${name}`);
      rmSync(path);
    }
    for (const leak of [Buffer.from(mark), Buffer.from(Buffer.concat([Buffer.from('x'), Buffer.from(`${mark} and more`)]).toString('base64'))]) {
      await world.database.raw('create table planted (value bytea)');
      await world.database('planted').insert({ value: leak });
      const found = hitsIn(await rowsOfAllTables(world.database), spellingsInDump(spellings));
      await world.database.raw('drop table planted');
      expect(found.length).toBeGreaterThan(0);
    }
  });
});
