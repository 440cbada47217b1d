import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../process/failure.ts';
import { classPath } from '../class-archive.ts';
import { childEnvironment } from '../environment.ts';
import type { NativeContext } from '../native-context.ts';
import { parts } from '../parts.ts';
import { stackMark } from '../processes.ts';
import type { RunningService } from '../service.ts';
import { startJavaService } from './java-service.ts';

const run = promisify(execFile);

/** One broker that is its own KRaft controller. */
export async function startKafka(context: NativeContext): Promise<RunningService> {
  const folder = await context.fetch(parts.kafka);
  const home = join(context.stateDir, 'kafka');
  const data = join(home, 'data');
  await mkdir(home, { recursive: true });
  const properties = join(home, 'server.properties');
  const logging = join(home, 'log4j2.xml');
  await writeFile(properties, serverProperties(data, context.ports.kafka, context.ports.kafkaController));
  await writeFile(logging, log4j);
  const classes = classPath(folder);
  if (!existsSync(join(data, 'meta.properties'))) await format(context, { data, properties, logging, classes });

  const logFile = join(context.logDir, 'kafka.log');
  return await startJavaService(context, {
    name: 'kafka',
    folder,
    heapMegabytes: 256,
    args: [`-Dlog4j2.configurationFile=${logging}`, '-cp', classes, 'kafka.Kafka', properties],
    // Said after the broker is unfenced and its listeners take requests; the log is of this run only.
    isReady: async () => (await readFile(logFile, 'utf8')).includes('Kafka Server started'),
  });
}

interface Layout {
  data: string;
  properties: string;
  logging: string;
  classes: string;
}

/** Gives the empty data folder its cluster id. What an interrupted attempt left has no data in it and goes first. */
async function format(context: NativeContext, { data, properties, logging, classes }: Layout): Promise<void> {
  await rm(data, { recursive: true, force: true });
  // Passed in one word: one in 64 begins with a hyphen, and would be taken for an option.
  const clusterId = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url');
  try {
    await run(
      context.java.path,
      ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto', `-D${stackMark(context.stateDir)}`, `-Dlog4j2.configurationFile=${logging}`, '-cp', classes, 'kafka.tools.StorageTool', 'format', '--ignore-formatted', `--cluster-id=${clusterId}`, '--config', properties],
      { env: childEnvironment(), signal: context.signal },
    );
  } catch (error) {
    context.signal.throwIfAborted();
    throw new Failure('dependency', 'SERVICE_FAILED', `kafka: its data folder ${data} could not be formatted: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function serverProperties(data: string, port: number, controllerPort: number): string {
  const settings: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${String(controllerPort)}`,
    listeners: `PLAINTEXT://127.0.0.1:${String(port)},CONTROLLER://127.0.0.1:${String(controllerPort)}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${String(port)}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': data,
    'auto.create.topics.enable': false,
    // One broker: internal topics cannot have the default of three replicas; few partitions start and recover faster.
    'default.replication.factor': 1,
    'min.insync.replicas': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 4,
    // A group's first member need not wait for others: the first message comes after 0.4 s instead of 3.9 s.
    'group.initial.rebalance.delay.ms': 0,
    'log.cleaner.dedupe.buffer.size': 8_388_608,
  };
  return Object.entries(settings).map(([name, value]) => `${name}=${String(value)}\n`).join('');
}

const log4j = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Logger name="state.change.logger" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
`;
