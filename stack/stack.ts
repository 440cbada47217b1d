import type { StackConnections } from './connections.ts';
import { defaultRegion } from './connections.ts';
import { startDocker } from './docker.ts';
import { readStackSettings, type ProviderName, type StackSettings } from './environment.ts';
import { lockStack } from './lock.ts';
import type { StackCredentials } from './native-context.ts';
import { startNative } from './native.ts';
import { endOrphans } from './orphans.ts';
import { choosePorts, type Ports } from './ports.ts';
import { chooseProvider, inspectTools, type Tools } from './provider.ts';
import { awaitServices } from './reachable.ts';
import { kmsUrl } from './services/kms.ts';
import { objectStoreUrl } from './services/object-store.ts';
import { postgresUrl } from './services/postgres.ts';
import { registryUrl } from './services/registry.ts';
import { prepareStateDir, publishRunning, readKeptSettings, withdrawRunning, writeKeptSettings } from './state-file.ts';

export interface Stack {
  connections: StackConnections;
  provider: ProviderName;
  /** Stops what this start has started, and waits until it is gone. Data stays. Idempotent. */
  stop(): Promise<void>;
}

export interface StackOptions {
  /** Holds data, logs, secrets and the lock of one stack. */
  stateDir: string;
  report?: (line: string) => void;
  /** false: no fsync and a JVM without its optimising compiler, for tests. Default true. */
  durable?: boolean;
  /** Aborting it during the start stops what has started; after the start it has no effect. */
  signal?: AbortSignal;
}

/**
 * Brings up Kafka, the schema registry, the object store, PostgreSQL and the KMS, or finds those that the environment names.
 * Out: a stack whose services have answered. Errors: CONFIG_INVALID, JAVA_MISSING, STACK_LOCKED, PORT_TAKEN,
 * DOWNLOAD_FAILED, SERVICE_FAILED, UNAVAILABLE, or the reason of `signal`. A start that fails leaves no process.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const settings = readStackSettings();
  const { report = () => undefined, signal = new AbortController().signal } = options;
  if (settings.named !== undefined) {
    report('using the services that the environment names');
    await awaitServices(settings.named, signal);
    return { connections: settings.named, provider: 'environment', stop: async () => undefined };
  }
  const tools = await inspectTools(settings);
  const provider = chooseProvider(settings, tools);
  signal.throwIfAborted();
  return await startOwn({ ...options, report, signal }, provider, settings, tools);
}

async function startOwn(options: StackOptions & { report: (line: string) => void; signal: AbortSignal }, provider: ProviderName, settings: StackSettings, tools: Tools): Promise<Stack> {
  const { report, signal } = options;
  const { stateDir, logDir } = prepareStateDir(options.stateDir);
  const lock = lockStack(stateDir);
  try {
    await endOrphans(stateDir, report);
    const kept = readKeptSettings(stateDir);
    // Kept before anything is made with them.
    writeKeptSettings(stateDir, kept);
    const { credentials } = kept;
    const ports = await choosePorts(settings.ports, kept.ports);
    const context = { stateDir, logDir, ports, credentials, durable: options.durable ?? true, report, signal };
    report(`starting the stack (${provider}) in ${stateDir}`);
    const group = provider === 'docker' ? await startDocker(context) : await startNative({ context, settings, tools });
    const connections = connectionsTo(ports, credentials);
    writeKeptSettings(stateDir, { credentials, ports });
    publishRunning(stateDir, provider, connections);
    let stopping: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      withdrawRunning(stateDir);
      await group.stop();
      lock.release();
    };
    return {
      connections,
      provider,
      async stop() {
        stopping ??= stop();
        return await stopping;
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Where the services of our own are, given their ports. */
export function connectionsTo(ports: Ports, credentials: StackCredentials): StackConnections {
  return {
    kafkaBrokers: [`127.0.0.1:${String(ports.kafka)}`],
    registryUrl: registryUrl(ports.registry),
    s3: { endpoint: objectStoreUrl(ports.s3), region: defaultRegion, ...credentials.s3 },
    databaseUrl: postgresUrl(ports.database, credentials.databasePassword, 'waybill'),
    kms: { endpoint: kmsUrl(ports.kms), region: defaultRegion, ...credentials.kms },
  };
}
