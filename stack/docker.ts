import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Failure } from '../process/failure.ts';
import { childEnvironment } from './environment.ts';
import type { NativeContext, StackCredentials } from './native-context.ts';
import type { Ports } from './ports.ts';
import { ServiceGroup } from './service-group.ts';
import { lastLines, type RunningService } from './service.ts';
import { startKms } from './services/kms.ts';
import { isObjectStoreReady } from './services/object-store.ts';
import { isRegistryReady } from './services/registry.ts';

export const composeFile = fileURLToPath(new URL('../docker-compose.yml', import.meta.url));

const answerWithinMs = 120_000;

type DockerContext = Omit<NativeContext, 'java' | 'fetch'>;

/** The variables that docker-compose.yml has no default for, or that fit it to one stack. */
export function composeVariables(ports: Ports, credentials: StackCredentials): Record<string, string> {
  return {
    KAFKA_PORT: String(ports.kafka),
    REGISTRY_PORT: String(ports.registry),
    S3_PORT: String(ports.s3),
    DATABASE_PORT: String(ports.database),
    DATABASE_PASSWORD: credentials.databasePassword,
    S3_ACCESS_KEY_ID: credentials.s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.s3.secretAccessKey,
  };
}

/** Four services from docker-compose.yml, a project per state folder, and the KMS beside them. Containers go at the stop, volumes stay. */
export async function startDocker(context: DockerContext): Promise<ServiceGroup> {
  const group = new ServiceGroup(context);
  group.start('kms', async (signal) => await startKms({ ...context, signal }));
  group.start('containers', async (signal) => await startContainers({ ...context, signal }));
  await group.ready();
  return group;
}

async function startContainers(context: DockerContext): Promise<RunningService> {
  const log = join(context.logDir, 'docker.log');
  try {
    await compose(context, log, ['up', '--detach', '--wait', '--remove-orphans']);
    await answering(context);
  } catch (error) {
    await compose({ ...context, signal: new AbortController().signal }, log, ['down']).catch(() => undefined);
    throw error;
  }
  return {
    name: 'docker',
    pid: 0,
    // They are the engine's children, not ours: their end is not told to us.
    ended: Promise.withResolvers<string>().promise,
    stop: async () => await compose({ ...context, signal: new AbortController().signal }, log, ['down']),
  };
}

/** Kafka and PostgreSQL have health checks in docker-compose.yml; the other two images have no program to ask with. */
async function answering({ ports, signal }: DockerContext): Promise<void> {
  const deadline = Date.now() + answerWithinMs;
  for (;;) {
    const answers = await Promise.all([isRegistryReady(ports.registry), isObjectStoreReady(ports.s3)].map(async (asked) => await asked.catch(() => false)));
    signal.throwIfAborted();
    if (answers.every(Boolean)) return;
    if (Date.now() > deadline) throw new Failure('dependency', 'SERVICE_FAILED', `The containers of registry and s3 do not answer after ${String(answerWithinMs / 1000)} s. Ask \`docker compose logs\`.`);
    await delay(200);
  }
}

async function compose({ stateDir, ports, credentials, signal }: DockerContext, log: string, args: string[]): Promise<void> {
  const project = `waybill-${createHash('sha256').update(stateDir).digest('hex').slice(0, 12)}`;
  const output = openSync(log, 'a', 0o600);
  const child = spawn('docker', ['compose', '--file', composeFile, '--project-name', project, ...args], {
    env: { ...childEnvironment(), ...composeVariables(ports, credentials) },
    stdio: ['ignore', output, output],
    signal,
  });
  closeSync(output);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('exit', resolve);
  const code = await promise;
  if (code !== 0) throw new Failure('dependency', 'SERVICE_FAILED', `docker compose ${args[0] ?? ''} failed (exit code ${String(code)}). Its log: ${log}\n${lastLines(log)}`);
}
