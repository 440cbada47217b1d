import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { zstdDecompressSync } from 'node:zlib';

import { createUnsealer } from '../adapters/kms/envelope.ts';
import { openKms } from '../adapters/kms/kms-client.ts';
import { readArchive } from '../catalogue/archive.ts';
import { parseManifest } from '../catalogue/manifest.ts';
import { sha256 } from '../catalogue/sha256.ts';

/** What a thread works with, read once. */
export interface BareData {
  readonly kms: Parameters<typeof openKms>[0];
  readonly wrappingKeyId: string;
  readonly manifest: string;
  readonly ciphertext: Uint8Array;
}

if (parentPort !== null) {
  const port = parentPort;
  const { kms, wrappingKeyId, manifest, ciphertext } = workerData as BareData; // what measureBare passes
  const unsealer = createUnsealer(openKms(kms), wrappingKeyId);
  const { files, archive_sha256: digest } = parseManifest(manifest);

  /** Decrypt, hash, untar, write, syncfs: what is left when every promise is dropped. */
  const bare = async (folder: string): Promise<void> => {
    const { plaintext } = await unsealer.unseal(ciphertext);
    const archive = zstdDecompressSync(plaintext);
    if (sha256(archive) !== digest) throw new Error('the bare candidate decrypted something else');
    const made = new Set<string>();
    for (const { path, bytes } of readArchive(archive, files)) {
      const target = join(folder, path);
      const parent = dirname(target);
      if (!made.has(parent)) mkdirSync(parent, { recursive: true });
      made.add(parent);
      const descriptor = openSync(target, 'wx', 0o644);
      writeSync(descriptor, bytes);
      closeSync(descriptor);
    }
    if (spawnSync('sync', ['-f', folder]).status !== 0) throw new Error('syncfs is not to be had here');
  };
  port.on('message', (folder: string) => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    bare(folder).then(() => { port.postMessage(null); }, (error: unknown) => { port.postMessage(String(error)); });
  });
}
