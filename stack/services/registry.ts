import { readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../process/failure.ts';
import type { NativeContext } from '../native-context.ts';
import { parts } from '../parts.ts';
import type { RunningService } from '../service.ts';
import { startJavaService } from './java-service.ts';

export const registryUrl = (port: number): string => `http://127.0.0.1:${String(port)}/apis/ccompat/v7`;

export async function isRegistryReady(port: number): Promise<boolean> {
  return (await fetch(`${registryUrl(port)}/subjects`, { signal: AbortSignal.timeout(2_000) })).ok;
}

/** Apicurio, which speaks the Confluent API; its database is a file, so that schema ids are the same after a restart. */
export async function startRegistry(context: NativeContext): Promise<RunningService> {
  const folder = await context.fetch(parts.registry);
  const runner = readdirSync(folder).find((name) => name.endsWith('-runner.jar'));
  if (runner === undefined) throw new Failure('dependency', 'SERVICE_FAILED', `registry: no -runner.jar in ${folder}. Delete the folder and start again.`);
  const home = join(context.stateDir, 'registry');
  await mkdir(home, { recursive: true });
  return await startJavaService(context, {
    name: 'registry',
    folder,
    heapMegabytes: 192,
    // It makes folders in its working directory.
    cwd: home,
    args: [
      '-Dquarkus.http.host=127.0.0.1',
      `-Dquarkus.http.port=${String(context.ports.registry)}`,
      '-Dquarkus.http.test-port=0',
      `-Dquarkus.datasource.jdbc.url=jdbc:h2:file:${join(home, 'registry')}`,
      '-Dquarkus.log.console.color=false',
      '-jar',
      join(folder, runner),
    ],
    isReady: async () => await isRegistryReady(context.ports.registry),
  });
}
