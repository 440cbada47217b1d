import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { Failure } from '../process/failure.ts';
import { connectionsFromEnvironment, type StackConnections } from './connections.ts';

export type ProviderName = 'environment' | 'native' | 'docker';

/** Every port that a native or Docker stack listens on, with the variable that pins it. */
export const portVariables = {
  kafka: 'WAYBILL_KAFKA_PORT',
  kafkaController: 'WAYBILL_KAFKA_CONTROLLER_PORT',
  registry: 'WAYBILL_REGISTRY_PORT',
  s3: 'WAYBILL_S3_PORT',
  database: 'WAYBILL_DATABASE_PORT',
  kms: 'WAYBILL_KMS_PORT',
} as const;
export type PortName = keyof typeof portVariables;
export const portNames: readonly PortName[] = ['kafka', 'kafkaController', 'registry', 's3', 'database', 'kms'];

export interface StackSettings {
  /** Downloads and class archives, per user, keyed by version: WAYBILL_CACHE, else `waybill` in the XDG cache folder. */
  cacheDir: string;
  /** WAYBILL_STACK; undefined = the first provider that is possible. */
  forced: ProviderName | undefined;
  /** WAYBILL_STATE_DIR; undefined = the caller's own default. */
  stateDir: string | undefined;
  /** Ports asked for by name; the others are chosen by the OS. */
  ports: Partial<Record<PortName, number>>;
  /** Services named in the environment; undefined when none is, or when another provider is forced. */
  named: StackConnections | undefined;
  /** JAVA_HOME, where the JDK is looked for before the PATH. */
  javaHome: string | undefined;
  path: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const isProvider = (text: string): text is ProviderName => text === 'environment' || text === 'native' || text === 'docker';

/**
 * The only file of the stack that reads the environment.
 * Out: the settings. Throws CONFIG_INVALID naming every variable that is wrong, all at once.
 */
export function readStackSettings(env: Environment = process.env): StackSettings {
  const faults: string[] = [];
  const text = (name: string): string | undefined => env[name]?.trim() || undefined;

  const forced = text('WAYBILL_STACK');
  if (forced !== undefined && !isProvider(forced)) faults.push(`WAYBILL_STACK is "${forced}"; it must be environment, native or docker`);

  const ports: Partial<Record<PortName, number>> = {};
  for (const name of portNames) {
    const given = text(portVariables[name]);
    if (given === undefined) continue;
    const port = Number(given);
    if (Number.isInteger(port) && port >= 1 && port <= 65_535) ports[name] = port;
    else faults.push(`${portVariables[name]} is "${given}"; it must be a port from 1 to 65535, or unset`);
  }

  let named: StackConnections | undefined;
  if (forced === undefined || forced === 'environment') {
    try {
      named = connectionsFromEnvironment(env);
      if (forced === 'environment' && named === undefined) {
        faults.push('WAYBILL_STACK is "environment", but no service is named: set WAYBILL_KAFKA_BROKERS and its companions (docs/stack.md)');
      }
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error));
    }
  }

  if (faults.length > 0) throw new Failure('input', 'CONFIG_INVALID', faults.join('\n'));
  const stateDir = text('WAYBILL_STATE_DIR');
  return {
    cacheDir: resolve(text('WAYBILL_CACHE') ?? join(text('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'waybill')),
    forced: forced !== undefined && isProvider(forced) ? forced : undefined,
    stateDir: stateDir === undefined ? undefined : resolve(stateDir),
    ports,
    named,
    javaHome: text('JAVA_HOME'),
    path: env['PATH'] ?? '',
  };
}

/** The environment that children of the stack inherit; our own secrets are not among what they need. */
export function childEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WAYBILL_')));
}
