import { entitlementsConsumer } from '../consumers/entitlements.ts';
import { runConsumer } from '../consumers/run-consumer.ts';
import { batchChannel, type BatchSettled } from '../consumers/settle.ts';
import { silentLogger } from '../process/log.ts';
import { outboxDrained } from '../producers/outbox-rows.ts';
import { runRelay } from '../producers/relay.ts';
import type { World } from './entitlements-world.ts';

/**
 * The pipeline as it runs: Kafka in → lines, state, audit, outbox, position → Kafka out, until every event is settled and
 * the outbox is drained. Consumer and relay in one process, as with `waybill run --role all`. Out: events per second, from
 * the first batch on (joining the group is not counted, for no candidate).
 */
export async function measureOurs(world: World): Promise<number> {
  const fresh = await world.freshDatabase(8);
  const { database } = fresh;
  const abort = new AbortController();
  const everything = Promise.withResolvers<undefined>();
  let settled = 0;
  let first: number | undefined;
  const count = (message: unknown): void => {
    const { counts, ms } = message as BatchSettled; // its only publisher sends these
    first ??= performance.now() - ms;
    settled += Object.values(counts).reduce((sum, bucket) => sum + bucket);
    if (settled === world.events.length) everything.resolve(undefined);
  };
  batchChannel.subscribe(count);
  const shared = { database, kafka: world.kafka, codec: world.codec, topicPrefix: world.topicPrefix, log: silentLogger, signal: abort.signal };
  const roles = Promise.all([runConsumer(entitlementsConsumer, shared), runRelay(shared)]);
  try {
    await Promise.race([everything.promise, roles]);
    await outboxDrained(database, 120_000);
    return world.events.length / ((performance.now() - (first ?? 0)) / 1000);
  } finally {
    batchChannel.unsubscribe(count);
    abort.abort();
    await roles;
    await fresh.drop();
  }
}
