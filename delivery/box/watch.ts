import { setTimeout as delay } from 'node:timers/promises';

import type { Database } from '../../process/database.ts';
import { asFailure } from '../../process/failure.ts';
import { lookAtPending, type PendingSight } from '../../process/pending.ts';

/** How often the pending rows of those who wait are looked at, all in one statement. */
const everyMs = 200;

interface Waiter {
  readonly workspaceId: string;
  readonly isNews: (sight: PendingSight | undefined) => boolean;
  readonly done: (news: boolean) => void;
}

/** Waits for changes of pending rows on behalf of any number of long polls; asks nothing while nobody waits. */
export class PendingWatch {
  readonly #database: Database;
  readonly #waiters = new Set<Waiter>();
  #isLooking = false;

  constructor(database: Database) {
    this.#database = database;
  }

  /** True as soon as `isNews` says so of the workspace's row; false after `timeoutMs`, or when the signal aborts. */
  async wait(workspaceId: string, isNews: Waiter['isNews'], timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { workspaceId, isNews, done: resolve };
    const giveUp = (): void => { resolve(false); };
    const timeout = setTimeout(giveUp, timeoutMs);
    signal.addEventListener('abort', giveUp, { once: true });
    this.#waiters.add(waiter);
    if (!this.#isLooking) {
      this.#isLooking = true;
      void this.#lookOn();
    }
    try {
      return await promise;
    } finally {
      clearTimeout(timeout);
      signal.removeEventListener('abort', giveUp);
      this.#waiters.delete(waiter);
    }
  }

  /** The row now; undefined: nothing is pending, or it is paused. */
  async look(workspaceId: string): Promise<PendingSight | undefined> {
    return (await lookAtPending(this.#database, [workspaceId]))[0];
  }

  async #lookOn(): Promise<void> {
    while (this.#waiters.size > 0) {
      await delay(everyMs);
      const waiters = [...this.#waiters];
      try {
        const rows = await lookAtPending(this.#database, [...new Set(waiters.map((waiter) => waiter.workspaceId))]);
        const sights = new Map(rows.map((row) => [row.workspaceId, row]));
        for (const waiter of waiters) if (waiter.isNews(sights.get(waiter.workspaceId))) waiter.done(true);
      } catch (error) {
        // A database that is away for a moment is no news. Anything else is told to who waits, by their own next look.
        if (asFailure(error).kind !== 'dependency') for (const waiter of waiters) waiter.done(true);
      }
    }
    this.#isLooking = false;
  }
}
