import { inject } from 'vitest';

import { createKafka } from '../../adapters/kafka/client.ts';
import { createLogReader } from '../../adapters/kafka/log-reader.ts';
import { createRegistry } from '../../adapters/kafka/registry.ts';
import { applyTopics } from '../../adapters/kafka/topics.ts';
import { compareWithTopics } from '../../consumers/compare-with-topics.ts';
import { silentLogger, type Logger } from '../../process/log.ts';
import { runRelay } from '../../producers/relay.ts';
import { createCodec, type Codec } from '../../schemas/codec.ts';
import { registerSchemas } from '../../schemas/register-schemas.ts';
import type { DeliveryWorld } from './delivery-world.ts';

export const worldKafka = createKafka({ brokers: inject('stack').kafkaBrokers, clientId: 'test', log: silentLogger });

/** Topics and schemas for what a DeliveryWorld says. Out: the codec that reads it. */
export async function openTopics({ isolated }: DeliveryWorld): Promise<Codec> {
  const registry = createRegistry({ url: inject('stack').registryUrl, timeoutMs: 5_000 });
  await registerSchemas({ registry });
  const admin = worldKafka.admin();
  await admin.connect();
  await applyTopics({ admin, prefix: isolated.topicPrefix, replicationFactor: 1 });
  await admin.disconnect();
  return createCodec({ registry });
}

/** The relay of a DeliveryWorld, wired as wire.ts does. */
export function startWorldRelay({ database, isolated: { topicPrefix } }: DeliveryWorld, codec: Codec, log: Logger = silentLogger): { stop(): Promise<void> } {
  const abort = new AbortController();
  const done = runRelay({
    database, kafka: worldKafka, codec, topicPrefix, log, signal: abort.signal,
    onConnected: async () => { await compareWithTopics({ database, codec, topicPrefix, log, reader: createLogReader(worldKafka, topicPrefix) }); },
  });
  done.catch(() => undefined); // looked at by stop
  return {
    async stop() {
      abort.abort();
      await done;
    },
  };
}
