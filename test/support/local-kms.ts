import { KMS } from '@aws-sdk/client-kms';
import { onTestFinished } from 'vitest';
import { freePort } from '../../stack/ports.ts';
import type { RunningService } from '../../stack/service.ts';
import { kmsUrl, startKms } from '../../stack/services/kms.ts';
import { prepareStateDir } from '../../stack/state-file.ts';

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

/** A local KMS of one test, as the stack starts it, with the real AWS client for any caller. */
export interface LocalKms {
  readonly service: RunningService;
  readonly endpoint: string;
  /** Signs as the root, or as who is given. One attempt a call, unless more are asked for. */
  client(credentials?: Credentials, options?: { maxAttempts?: number; region?: string }): KMS;
  /** A caller that is not the root, made if it is new. */
  user(name: string): Promise<Credentials & { arn: string }>;
  failNext(order: { operation?: string; error: string; times?: number }): Promise<void>;
  /** Starts it again on the same folder, after it has ended. */
  restart(): Promise<void>;
}

const root: Credentials = { accessKeyId: 'AKIAROOT', secretAccessKey: 'the secret of the root in tests' };

export async function startLocalKms(folder: string): Promise<LocalKms> {
  const context = { ...prepareStateDir(folder), credentials: { databasePassword: '', s3: root, kms: root }, ports: { kms: await freePort(new Set()) }, signal: new AbortController().signal };
  let service = await startKms(context);
  const endpoint = kmsUrl(context.ports.kms);
  const clients: KMS[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.destroy();
    await service.stop();
  });
  const control = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`${endpoint}/_waybill/${path}`, {
      method,
      headers: { authorization: `Bearer ${root.secretAccessKey}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${String(answer.status)} ${await answer.text()}`);
    return await answer.json();
  };
  return {
    get service() {
      return service;
    },
    endpoint,
    client(credentials = root, { maxAttempts = 1, region = 'us-east-1' } = {}) {
      const client = new KMS({ endpoint, region, credentials, maxAttempts });
      clients.push(client);
      return client;
    },
    // The control endpoint's answer is its own declaration of a caller.
    user: async (name) => await (control('PUT', `callers/${name}`) as Promise<Credentials & { arn: string }>),
    async failNext(order) {
      await control('POST', 'failures', order);
    },
    async restart() {
      await service.ended;
      service = await startKms(context);
    },
  };
}
