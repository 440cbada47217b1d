import { randomBytes } from 'node:crypto';

import type { Kafka } from 'kafkajs';

import { createKafka } from '../adapters/kafka/client.ts';
import { createRegistry } from '../adapters/kafka/registry.ts';
import { applyTopics } from '../adapters/kafka/topics.ts';
import type { LineEvent } from '../entitlements/line.ts';
import { openDatabase, type Database } from '../process/database.ts';
import { silentLogger } from '../process/log.ts';
import { migrate } from '../process/migrate.ts';
import { createCodec, type Codec } from '../schemas/codec.ts';
import { deriveEventId, parseItemId, parseOrgId, parsePolicy, parsePurchaseId } from '../schemas/ids.ts';
import { registerSchemas } from '../schemas/register-schemas.ts';
import { keyOf } from '../schemas/topics.ts';
import { startStack } from '../stack/stack.ts';

/** The services, and a log of events that all candidates read. */
export interface World {
  readonly kafka: Kafka;
  readonly codec: Codec;
  readonly topicPrefix: string;
  readonly events: readonly LineEvent[];
  /** A database of its own with empty tables, as they are after `waybill migrate`. */
  freshDatabase(poolMax: number): Promise<{ database: Database; url: string; drop(): Promise<void> }>;
  close(): Promise<void>;
}

/** Three events a line: bought, renewed, then renewed again or, one in five, refunded; two in a hundred come twice. */
function makeEvents(count: number): LineEvent[] {
  const lines = Math.ceil(count / 3.06);
  const hour = 3_600_000;
  const now = Date.now();
  const rounds = [1, 2, 3].map((version) => Array.from({ length: lines }, (_, n): LineEvent => {
    const orgId = parseOrgId(`00000000-0000-4000-8000-${String(n % Math.ceil(lines / 4)).padStart(12, '0')}`);
    const itemId = parseItemId(`item-${n % 97}`);
    const purchaseId = parsePurchaseId(`pay_${String(n).padStart(10, '0')}`);
    const event = {
      event_id: deriveEventId('bench', `${orgId}/${itemId}/${purchaseId}`, version), occurred_at: now, caused_by: null, run_id: null,
      org_id: orgId, item_id: itemId, purchase_id: purchaseId, entitlement_version: version, source: 'subscription' as const,
      policy: parsePolicy('stable'), valid_from: now - hour, valid_until: now + version * 720 * hour,
    };
    return version === 3 && n % 5 === 0
      ? { type: 'Revoke', event: { ...event, ended_at: now, reason: 'refund' } }
      : { type: 'Purchase', event };
  }));
  const all = rounds.flatMap((round) => round.toSorted((a, b) => (a.event.event_id < b.event.event_id ? -1 : 1)));
  return all.flatMap((event, n) => (n % 50 === 0 ? [event, event] : [event])).slice(0, count);
}

export async function openWorld(count: number, say: (line: string) => void): Promise<World> {
  const stack = await startStack({ stateDir: '.waybill/bench', report: say });
  const { connections } = stack;
  const id = randomBytes(4).toString('hex');
  const topicPrefix = `bench-${id}.`;
  const kafka = createKafka({ brokers: connections.kafkaBrokers, clientId: 'bench', log: silentLogger });
  const registry = createRegistry({ url: connections.registryUrl, timeoutMs: 5_000 });
  await registerSchemas({ registry });
  const codec = createCodec({ registry });
  const admin = kafka.admin();
  await admin.connect();
  await applyTopics({ admin, prefix: topicPrefix, replicationFactor: 1 });
  const events = makeEvents(count);
  await publish(kafka, codec, `${topicPrefix}marketplace.entitlements`, events);
  say(`published ${events.length} events to 8 partitions`);
  const root = openDatabase(connections.databaseUrl, { name: 'bench' });

  return {
    kafka,
    codec,
    topicPrefix,
    events,
    async freshDatabase(poolMax) {
      const name = `bench_${id}_${randomBytes(4).toString('hex')}`;
      await root.raw('create database ??', [name]);
      const url = new URL(connections.databaseUrl);
      url.pathname = `/${name}`;
      const database = openDatabase(url.href, { name: 'bench', poolMax });
      await migrate(database, ['outbox', 'waybill']);
      // What the candidates before left to write is not this one's work.
      await root.raw('checkpoint');
      return {
        database,
        url: url.href,
        async drop() {
          await database.destroy();
          await root.raw('drop database ?? with (force)', [name]);
        },
      };
    },
    async close() {
      const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(topicPrefix));
      await admin.deleteTopics({ topics });
      await admin.disconnect();
      await root.destroy();
      await stack.stop();
    },
  };
}

async function publish(kafka: Kafka, codec: Codec, topic: string, events: readonly LineEvent[]): Promise<void> {
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  // A request is one batch a partition, and a batch is at most a message's size.
  for (let from = 0; from < events.length; from += 2_000) {
    const messages = await Promise.all(events.slice(from, from + 2_000).map(async (event) => ({ key: keyOf(event), value: await codec.encode(event) })));
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}
