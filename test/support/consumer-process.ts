import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { createKafka } from '../../adapters/kafka/client.ts';
import { createRegistry } from '../../adapters/kafka/registry.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { runConsumer } from '../../consumers/run-consumer.ts';
import { openDatabase } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { createCodec } from '../../schemas/codec.ts';

interface Settings {
  readonly databaseUrl: string;
  readonly brokers: string[];
  readonly registryUrl: string;
  readonly topicPrefix: string;
  readonly sessionTimeoutMs: number;
}

/** The entitlements consumer in a process of its own, to be killed or frozen; SIGTERM stops it in order. */
export function forkConsumer(settings: Settings): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [JSON.stringify(settings)], { stdio: 'inherit' });
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function main(settings: Settings): Promise<void> {
  const abort = new AbortController();
  process.once('SIGTERM', () => { abort.abort(); });
  const database = openDatabase(settings.databaseUrl, { name: 'consumer-process' });
  const codec = createCodec({ registry: createRegistry({ url: settings.registryUrl, timeoutMs: 5_000 }) });
  const kafka = createKafka({ brokers: settings.brokers, clientId: 'consumer-process', log: silentLogger });
  await runConsumer(entitlementsConsumer, {
    database, codec, kafka, log: silentLogger, topicPrefix: settings.topicPrefix, signal: abort.signal, sessionTimeoutMs: settings.sessionTimeoutMs,
  });
  await database.destroy();
  process.disconnect();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(JSON.parse(process.argv[2] ?? '') as Settings); // written by forkConsumer
