import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeAtomically } from '../atomic-file.ts';
import { defaultRegion } from '../connections.ts';
import { childEnvironment } from '../environment.ts';
import type { NativeContext } from '../native-context.ts';
import { stackMark } from '../processes.ts';
import { startService, type RunningService } from '../service.ts';

export const kmsUrl = (port: number): string => `http://127.0.0.1:${String(port)}`;

const program = fileURLToPath(new URL('../kms/main.ts', import.meta.url));

/** The part of a context that the KMS needs: it also runs beside a Docker stack. */
export type KmsContext = Pick<NativeContext, 'stateDir' | 'logDir' | 'credentials' | 'signal'> & { ports: { kms: number } };

/**
 * The local KMS, a process of its own: its keys are not in the memory of the pipeline, and a busy pipeline does not make it
 * slow. It holds our hand (standard input), so that even `kill -9` of us leaves no KMS behind.
 */
export async function startKms(context: KmsContext): Promise<RunningService> {
  const { stateDir, logDir, credentials, ports, signal } = context;
  const folder = join(stateDir, 'kms');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const credentialsFile = join(folder, 'root.json');
  writeAtomically(credentialsFile, JSON.stringify(credentials.kms));
  return await startService(
    {
      name: 'kms',
      command: process.execPath,
      args: [program, `--${stackMark(stateDir)}`, '--folder', folder, '--port', String(ports.kms), '--region', defaultRegion, '--credentials', credentialsFile, '--lifeline'],
      env: childEnvironment(),
      logFile: join(logDir, 'kms.log'),
      stopSignal: 'SIGTERM',
      lifeline: true,
      isReady: async () => (await fetch(`${kmsUrl(ports.kms)}/_waybill/health`, { signal: AbortSignal.timeout(2_000) })).ok,
      deadlineMs: 30_000,
      graceMs: 5_000,
    },
    signal,
  );
}
