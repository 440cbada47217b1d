import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import { silentLogger } from '../process/log.ts';
import { wireDeliveries } from '../wire-deliveries.ts';
import type { DeliveriesWorld } from './deliveries-world.ts';

/** What one load of workspaces took. */
export interface RateRun {
  readonly seconds: number;
  /** CPU of this process, its volume threads included; PostgreSQL, the stores and `sync` are others. */
  readonly cpuMs: number;
  /** Requests that left for the object store. */
  readonly fetches: number;
  readonly rssMaxBytes: number;
}

/** The delivery role as `waybill run --role deliveries` runs it, in this process. */
export interface Ours {
  /** `count` booting workspaces, all due at once, until each is ready and its attempt has ended. */
  run(count: number): Promise<RateRun>;
  close(): Promise<void>;
}

export function openOurs(world: DeliveriesWorld): Ours {
  const abort = new AbortController();
  const role = wireDeliveries(world.config, silentLogger);
  const running = role.run(abort.signal);
  running.catch(() => undefined); // awaited at the end, and beside each load
  return {
    async run(count) {
      const { workspaces, go } = await world.seed(count);
      world.syncVolumes();
      let fetches = 0;
      const onRequest = (): void => { fetches += 1; };
      let rssMaxBytes = process.memoryUsage.rss();
      const watch = setInterval(() => { rssMaxBytes = Math.max(rssMaxBytes, process.memoryUsage.rss()); }, 50);
      // Every request of the guarded fetch, which is undici's; the SDKs and this benchmark use others.
      subscribe('undici:request:create', onRequest);
      try {
        const before = process.cpuUsage();
        const started = performance.now();
        await go();
        await Promise.race([world.settled(workspaces), running]);
        const seconds = (performance.now() - started) / 1000;
        const { user, system } = process.cpuUsage(before);
        return { seconds, cpuMs: (user + system) / 1000, fetches, rssMaxBytes };
      } finally {
        unsubscribe('undici:request:create', onRequest);
        clearInterval(watch);
      }
    },
    async close() {
      abort.abort();
      await running;
      await role[Symbol.asyncDispose]();
    },
  };
}
