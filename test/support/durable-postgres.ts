import { chmodSync } from 'node:fs';

import { findJava } from '../../stack/java.ts';
import type { NativeContext } from '../../stack/native-context.ts';
import { freePort } from '../../stack/ports.ts';
import { prepareStateDir, readKeptSettings } from '../../stack/state-file.ts';

/** What it takes to start a PostgreSQL of the test's own in this folder, one that syncs: it will be killed, stopped or put back. */
export async function durablePostgres(folder: string): Promise<NativeContext> {
  chmodSync(folder, 0o711); // the server may run as another user than root
  const prepared = prepareStateDir(folder);
  return {
    ...prepared,
    java: (await findJava(undefined, '')) ?? { path: '', major: 0, version: '', digest: '' },
    ports: { kafka: 0, kafkaController: 0, registry: 0, s3: 0, database: await freePort(new Set()), kms: 0 },
    credentials: readKeptSettings(prepared.stateDir).credentials,
    durable: true,
    report: () => undefined,
    signal: new AbortController().signal,
    fetch: async () => await Promise.reject(new Error('PostgreSQL needs no part.')),
  };
}
