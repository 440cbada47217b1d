import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { tx, type Database } from '../process/database.ts';
import { claim, settleClaim, wake, type Claim } from '../process/pending.ts';

/** Live wakes at a steady rate, and workers that claim whatever is due as the real ones do; their work is a pause. */
export interface Live {
  /** Milliseconds from the commit of each live wake of this time to its claim. */
  during(ms: number): Promise<readonly number[]>;
  /** Likewise for as long as `run` takes. */
  while(run: () => Promise<void>): Promise<readonly number[]>;
  close(): Promise<void>;
}

const everyMs = 25;
const atOnce = 8;
const workMs = 20;
const pollMs = 15;
/** What has not been claimed by then counts as this. */
const giveUpMs = 10_000;
const leaseMs = 60_000;

export async function openLive(database: Database): Promise<Live> {
  const pool = Array.from({ length: 2_000 }, () => randomUUID());
  await database.raw('insert into deliveries (workspace_id, org_id) select w, gen_random_uuid() from unnest(?::uuid[]) w', [pool]);
  const waiting = new Map<string, (at: number) => void>();
  const stop = new AbortController();
  const running = new Set<Promise<void>>();

  const work = async ({ workspaceId, attempt, n }: Claim): Promise<void> => {
    waiting.get(workspaceId)?.(performance.now());
    await delay(workMs);
    await tx(database, async (trx) => { await settleClaim(trx, workspaceId, attempt, n); });
  };
  const working = (async () => {
    while (!stop.signal.aborted) {
      const claims = running.size < atOnce ? await claim(database, atOnce - running.size, leaseMs) : [];
      for (const claimed of claims) {
        const one = work(claimed).finally(() => running.delete(one));
        running.add(one);
      }
      if (claims.length === 0) await Promise.race([delay(pollMs), ...running]);
    }
    await Promise.all(running);
  })();

  const bring = async (workspaceId: string): Promise<number> => {
    const claimed = Promise.withResolvers<number>();
    waiting.set(workspaceId, claimed.resolve);
    await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
    const began = performance.now();
    const at = await Promise.race([claimed.promise, delay(giveUpMs, undefined, { ref: false })]);
    waiting.delete(workspaceId);
    return at === undefined ? giveUpMs : Math.max(0, at - began);
  };
  let next = 0;
  const until = async (isOver: () => boolean): Promise<readonly number[]> => {
    const all: Promise<number>[] = [];
    while (!isOver()) {
      all.push(bring(pool[next % pool.length] ?? ''));
      next += 1;
      await delay(everyMs);
    }
    return await Promise.all(all);
  };

  return {
    during: async (ms) => {
      const end = performance.now() + ms;
      return await until(() => performance.now() >= end);
    },
    while: async (run) => {
      let isOver = false;
      const measured = until(() => isOver);
      await run().finally(() => { isOver = true; });
      return await measured;
    },
    close: async () => {
      stop.abort();
      await working;
    },
  };
}
