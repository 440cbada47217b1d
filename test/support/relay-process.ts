import { fork } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { createKafka } from '../../adapters/kafka/client.ts';
import { createRegistry } from '../../adapters/kafka/registry.ts';
import { openDatabase } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { outboxDrained } from '../../producers/outbox-rows.ts';
import { runRelay, type RelayStep } from '../../producers/relay.ts';
import { createCodec } from '../../schemas/codec.ts';

interface Settings {
  readonly databaseUrl: string;
  readonly brokers: string[];
  readonly registryUrl: string;
  readonly topicPrefix: string;
  /** Kills itself, with SIGKILL, the first time that the relay has done this; null: goes on until the outbox is empty. */
  readonly killAt: RelayStep['step'] | null;
}

/** Runs a relay in a process of its own. Resolves with the signal that ended it, or null when it drained and ended by itself. */
export async function runRelayProcess(settings: Settings): Promise<NodeJS.Signals | null> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(settings)], { execArgv: ['--disable-warning=TimeoutNegativeWarning'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  if (signal === null && code !== 0) throw new Error(`the relay process ended with ${code}`);
  return signal;
}

async function main({ databaseUrl, brokers, registryUrl, topicPrefix, killAt }: Settings): Promise<void> {
  const abort = new AbortController();
  // Subscribers run inside the step: nothing of it comes after the kill.
  subscribe('waybill:relay', (message) => { if ((message as RelayStep).step === killAt) process.kill(process.pid, 'SIGKILL'); });
  const database = openDatabase(databaseUrl, { name: 'relay-process' });
  const codec = createCodec({ registry: createRegistry({ url: registryUrl, timeoutMs: 5_000 }) });
  const kafka = createKafka({ brokers, clientId: 'relay-process', log: silentLogger });
  const relay = runRelay({ database, kafka, codec, topicPrefix, log: silentLogger, signal: abort.signal });
  await outboxDrained(database);
  abort.abort();
  await relay;
  await database.destroy();
  process.disconnect();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(JSON.parse(process.argv[2] ?? '') as Settings); // written by runRelayProcess
