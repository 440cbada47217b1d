import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { wireRoles } from '../cli/run.ts';
import { runTogether, type Runnable } from '../process/lifecycle.ts';
import { silentLogger } from '../process/log.ts';
import { readAssets } from '../producers/client.ts';
import { provisionWorkspace } from '../producers/control-plane.ts';
import { wireAssetsFeed, wireCatalogueLookup, wireDatabase, wireRelay } from '../wire.ts';
import { quantile } from './deliveries-figures.ts';
import { release, type DeliveriesWorld } from './deliveries-world.ts';

/** Milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p95: number;
  /** Median of each part of the way, in its order. */
  readonly parts: Readonly<Record<string, number>>;
}

/** The whole pipeline in one process, as `waybill run` runs it, with the relay of a control plane and a reader of its own. */
export interface Pipeline {
  /** Workspaces one after the other, so many milliseconds of silence between them. */
  oneByOne(count: number, silenceMs: number): Promise<Latency>;
  /** Workspaces at a steady rate, whether the earlier ones are ready or not. */
  steady(count: number, perSecond: number): Promise<Latency>;
  close(): Promise<void>;
}

/** Longest that one workspace may take before the benchmark gives up. */
const readyMs = 60_000;

export async function openPipeline(world: DeliveriesWorld): Promise<Pipeline> {
  const { config, database, org } = world;
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(world.controlPlane, 'bench-control-plane', 4));
  const catalogue = wireCatalogueLookup(database);
  const heard = new Map<string, (at: number) => void>();
  const feed: Runnable = {
    name: 'feed',
    run: async (signal) => {
      await readAssets({
        ...wireAssetsFeed(config, silentLogger, 'bench-control-plane'), signal,
        onEvent: async ({ type, event }) => { if (type === 'AssetsReady') heard.get(event.workspace_id)?.(Date.now()); },
      });
    },
  };
  const roles = [
    ...wireRoles(['entitlements', 'workspaces', 'deliveries', 'relay', 'expiry'], config, () => silentLogger),
    wireRelay({ ...config, ...world.controlPlane }, silentLogger, 'control-plane-relay'),
  ];
  for (const role of roles) resources.use(role);
  const abort = new AbortController();
  const running = runTogether([...roles, feed], abort.signal, { log: silentLogger });
  running.catch(() => undefined); // awaited at the end, and beside each workspace

  /** Out: the moments of one workspace, from before the producer's transaction to its AssetsReady at the reader. */
  const bring = async (): Promise<{ workspace: string; began: number; ended: number }> => {
    const workspace = randomUUID();
    world.makeVolume(workspace);
    const ready = Promise.withResolvers<number>();
    heard.set(workspace, ready.resolve);
    const began = Date.now();
    await own.transaction(async (trx) => {
      await provisionWorkspace(trx, catalogue, { workspace_id: workspace, org_id: org, runtime: 'claude-code', template: release.item });
    });
    const ended = await Promise.race([ready.promise, running, delay(readyMs, undefined, { ref: false })]);
    if (ended === undefined) throw new Error(`workspace ${workspace} did not become ready within ${readyMs} ms`);
    return { workspace, began, ended };
  };
  const judge = async (all: readonly Awaited<ReturnType<typeof bring>>[]): Promise<Latency> => {
    await world.settled(all.map(({ workspace }) => workspace));
    const parts = await Promise.all(all.map(async (one) => await partsOf(world, one)));
    const took = all.map(({ began, ended }) => ended - began);
    const names = Object.keys(parts[0] ?? {});
    return {
      p50: quantile(took, 0.5), p95: quantile(took, 0.95),
      parts: Object.fromEntries(names.map((name) => [name, Math.round(quantile(parts.map((part) => part[name] ?? 0), 0.5))])),
    };
  };
  return {
    async oneByOne(count, silenceMs) {
      const all: Awaited<ReturnType<typeof bring>>[] = [];
      for (let n = 0; n < count; n += 1) {
        all.push(await bring());
        await delay(silenceMs);
      }
      return await judge(all);
    },
    async steady(count, perSecond) {
      const started = performance.now();
      const all = await Promise.all(Array.from({ length: count }, async (_, n) => {
        await delay((n * 1000) / perSecond - (performance.now() - started));
        return await bring();
      }));
      return await judge(all);
    },
    async close() {
      abort.abort();
      await running;
      await resources.disposeAsync();
    },
  };
}

/** Where the time went, by the clock of the database, which is this machine's. */
async function partsOf(world: DeliveriesWorld, { workspace, began, ended }: { workspace: string; began: number; ended: number }): Promise<Record<string, number>> {
  const { rows: [row] } = await world.database.raw<{ rows: Record<string, number>[] }>(
    `with said as (
       select extract(epoch from sent_at) * 1000 as sent from ${world.controlPlane.databaseSchema}.waybill_outbox where key = ? and type = 'WorkspaceProvisioned'
     ), told as (
       select extract(epoch from created_at) * 1000 as made, extract(epoch from sent_at) * 1000 as sent from waybill_outbox where key = ? and type = 'AssetsReady'
     ), step as (
       select action, extract(epoch from min(at)) * 1000 as at from audit where subject_kind = 'workspace' and subject_id = ? group by action
     ), moments as (
       select (select sent from said) as sent, (select made from told) as made, (select sent from told) as told,
         (select at from step where action = 'WorkspaceProvisioned') as folded, (select at from step where action = 'plan') as planned,
         (select at from step where action = 'permit') as permitted
     )
     select (sent - ?)::float8 as "producer and its relay", (folded - sent)::float8 as "Kafka and fold", (planned - folded)::float8 as "claim and start",
       (permitted - planned)::float8 as "fence, fetch, build", (made - permitted)::float8 as "apply and probe", (told - made)::float8 as "finish and relay",
       (? - told)::float8 as "Kafka and reader" from moments`,
    [workspace, workspace, workspace, began, ended],
  );
  return row ?? {};
}
