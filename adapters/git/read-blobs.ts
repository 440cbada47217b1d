import type { Readable } from 'node:stream';

import type { ReleaseLimits } from '../../catalogue/limits.ts';
import { Failure } from '../../process/failure.ts';
import { startGit, type GitOptions } from './run-git.ts';

/**
 * The content of blobs in the order asked for, with one `cat-file --batch`. Sizes are known before contents are read, so
 * that what is too large is never held.
 * @throws Failure input TOO_LARGE; dependency UPSTREAM when a blob is not there; GitError
 */
export async function* readBlobs<Entry extends { readonly oid: string; readonly path: string }>(
  git: GitOptions, repository: readonly string[], entries: readonly Entry[], limits: ReleaseLimits,
): AsyncGenerator<{ readonly entry: Entry; readonly bytes: Buffer }> {
  const stop = new AbortController();
  const batch = startGit({ ...git, signal: AbortSignal.any([git.signal, stop.signal]) }, [...repository, 'cat-file', '--batch']);
  batch.write(entries.map(({ oid }) => `${oid}\n`).join(''));
  batch.end();
  const output = new ByteReader(batch.stdout);
  let total = 0;
  try {
    for (const entry of entries) {
      const [, type, length = ''] = (await output.line()).split(' ');
      if (type !== 'blob') throw new Failure('dependency', 'UPSTREAM', `The repository did not hand out the content of ${JSON.stringify(entry.path)}`);
      const bytes = Number(length);
      total += bytes;
      if (bytes > limits.entryBytesMax) throw tooLarge(`${JSON.stringify(entry.path)} has ${bytes} bytes, more than ${limits.entryBytesMax}`);
      if (total > limits.archiveBytesMax) throw tooLarge(`its files have more than ${limits.archiveBytesMax} bytes`);
      const content = await output.take(bytes);
      await output.take(1); // the line feed after each content
      yield { entry, bytes: content };
    }
    await batch.ended;
  } finally {
    stop.abort();
  }
}

function tooLarge(reason: string): Failure {
  return new Failure('input', 'TOO_LARGE', `The artifact cannot be published: ${reason}`);
}

/** Takes lines and exact numbers of bytes off a stream. */
class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>; // no encoding is set
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf(0x0a);
      if (end >= 0) {
        const line = this.#held.toString('latin1', 0, end);
        this.#held = this.#held.subarray(end + 1);
        return line;
      }
      this.#held = Buffer.concat([this.#held, await this.#next()]);
    }
  }

  async take(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = bytes;
    while (missing > 0) {
      if (this.#held.length === 0) this.#held = await this.#next();
      const part = this.#held.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      this.#held = this.#held.subarray(part.length);
    }
    return Buffer.concat(parts);
  }

  async #next(): Promise<Buffer> {
    const next = await this.#chunks.next();
    if (next.done === true) throw new Failure('dependency', 'UPSTREAM', 'git ended before it had handed out every file');
    return next.value;
  }
}
