import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Failure } from '../process/failure.ts';
import { readIfThere, writeAtomically } from './atomic-file.ts';

export interface StackLock {
  release(): void;
}

/**
 * One stack per state folder. The lock is SQLite's on an empty database: the kernel gives it up with the process, also
 * after `kill -9`, so there is never a stale one to judge, and two starters cannot both take over.
 * The pid beside it is only for the message. Throws STACK_LOCKED.
 */
export function lockStack(stateDir: string): StackLock {
  const holder = join(stateDir, 'lock.pid');
  const database = new DatabaseSync(join(stateDir, 'lock'), { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && /locked|busy/i.test(error.message)) {
      const pid = readIfThere(holder)?.trim() ?? 'unknown';
      throw new Failure('input', 'STACK_LOCKED', `A stack already runs on ${stateDir}: process ${pid}. Use that one, or stop it (kill ${pid}) and start again.`, { cause: error });
    }
    throw error;
  }
  writeAtomically(holder, `${String(process.pid)}\n`);
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}
