import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import type { DeliveriesWorld } from './deliveries-world.ts';
import type { BareData } from './deliveries-bare-thread.ts';

/** The bare candidate, its threads started and warm. */
export interface Bare {
  /** Delivers to so many empty folders. Out: seconds. */
  run(count: number): Promise<number>;
  close(): Promise<void>;
}

/**
 * Decrypt (Encryption SDK, the data key unwrapped by the KMS), hash, untar, write and syncfs of the same release on the
 * same disk, and nothing else: no database, no grant, no fetch, no fence, no probe. As many at once as our worker has in
 * flight, each in a thread of its own from the first byte to the last.
 */
export function openBare(world: DeliveriesWorld): Bare {
  const { config, sealed } = world;
  const shared = new Uint8Array(new SharedArrayBuffer(sealed.ciphertextBytes));
  let isFetched: Promise<void> | undefined;
  const threads: Worker[] = [];
  const start = async (): Promise<void> => {
    shared.set(await readObject(world));
    const kms = { endpoint: config.kmsEndpoint, region: config.kmsRegion, accessKeyId: config.kmsAccessKeyId, secretAccessKey: config.kmsSecretAccessKey };
    const workerData = { kms, wrappingKeyId: sealed.wrappingKeyId, manifest: sealed.manifest, ciphertext: shared } satisfies BareData;
    for (let n = 0; n < config.deliveriesAtOnce; n += 1) threads.push(new Worker(new URL('./deliveries-bare-thread.ts', import.meta.url), { workerData }));
  };
  let runs = 0;
  return {
    async run(count) {
      isFetched ??= start();
      await isFetched;
      runs += 1;
      const folders = Array.from({ length: count }, (_, n) => `bare-${runs}-${n}`);
      folders.forEach((folder) => { world.makeVolume(folder); });
      world.syncVolumes();
      const waiting = [...folders];
      const started = performance.now();
      await Promise.all(threads.map(async (thread) => {
        for (let folder = waiting.shift(); folder !== undefined; folder = waiting.shift()) await ask(thread, join(config.volumesRoot, folder));
      }));
      return (performance.now() - started) / 1000;
    },
    async close() {
      await Promise.all(threads.map(async (thread) => { await thread.terminate(); }));
    },
  };
}

async function ask(thread: Worker, folder: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const onMessage = (fault: string | null): void => {
    if (fault === null) resolve(undefined);
    else reject(new Error(fault));
  };
  thread.once('message', onMessage);
  thread.once('error', reject);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  thread.postMessage(folder);
  try {
    await promise;
  } finally {
    thread.off('message', onMessage);
    thread.off('error', reject);
  }
}

/** The sealed object, once, through a signed URL. */
async function readObject({ config, sealed }: DeliveriesWorld): Promise<Buffer> {
  const { createArtifactStore } = await import('../adapters/s3/artifact-store.ts');
  const store = createArtifactStore({
    endpoint: config.s3Endpoint, region: config.s3Region, bucket: config.s3Bucket, accessKeyId: config.s3AccessKeyId, secretAccessKey: config.s3SecretAccessKey,
  });
  try {
    const { url, headers } = await store.presignGet({ key: sealed.objectKey, versionId: sealed.objectVersion, etag: sealed.objectEtag }, { at: new Date(), seconds: 60 });
    const answer = await fetch(url, { headers });
    return Buffer.from(await answer.arrayBuffer());
  } finally {
    store.close();
  }
}
