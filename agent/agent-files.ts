import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Failure } from '../process/failure.ts';

/** What the agent keeps between two runs: its keys, the newest key list and lease, what it holds. */
export type AgentFile = 'keys.json' | 'public-keys.json' | 'key-list.json' | 'lease.txt' | 'held.json';

/**
 * `.waybill/agent/` on the volume, mode 0700, each file 0600 and whole at every moment: written beside and renamed. Outside
 * of every path that is delivered to.
 */
export class AgentFiles {
  readonly #folder: string;

  /** @param volume absolute path of the volume's root @throws Failure subject VOLUME_UNWRITABLE */
  constructor(volume: string) {
    this.#folder = join(volume, '.waybill', 'agent');
    // The root is never made: where it is missing, a mount is.
    guarded(this.#folder, () => { for (const path of [join(volume, '.waybill'), this.#folder]) makeFolder(path); });
  }

  /** undefined where it was never written. */
  read(name: AgentFile): string | undefined {
    try {
      return readFileSync(join(this.#folder, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new Failure('subject', 'VOLUME_UNWRITABLE', `${join(this.#folder, name)} cannot be read: ${(error as Error).message}`, { cause: error });
    }
  }

  /** As write, but leaves alone what another has made meanwhile. */
  make(name: AgentFile, text: string): void {
    const path = join(this.#folder, name);
    const beside = `${path}.${randomUUID()}`;
    guarded(path, () => {
      writeFileSync(beside, text, { mode: 0o600, flush: true, flag: 'wx' });
      try {
        linkSync(beside, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      } finally {
        unlinkSync(beside);
      }
    });
  }

  /** Durable when it returns. */
  write(name: AgentFile, text: string): void {
    const path = join(this.#folder, name);
    const beside = `${path}.new`;
    guarded(path, () => {
      writeFileSync(beside, text, { mode: 0o600, flush: true });
      renameSync(beside, path);
      const folder = openSync(this.#folder, 'r');
      try {
        fsyncSync(folder);
      } finally {
        closeSync(folder);
      }
    });
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function guarded(path: string, write: () => unknown): void {
  try {
    write();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Failure('subject', code === 'ENOSPC' ? 'VOLUME_FULL' : 'VOLUME_UNWRITABLE', `${path} cannot be written: ${message}`, { cause: error });
  }
}
