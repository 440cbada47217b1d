import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { asDatabaseFailure } from '../../../process/database.ts';
import { Failure } from '../../../process/failure.ts';
import type { NativeContext } from '../../../stack/native-context.ts';
import type { RunningService } from '../../../stack/service.ts';
import { postgresUrl, startPostgres } from '../../../stack/services/postgres.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { durablePostgres } from '../../support/durable-postgres.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { openCase, placed, publishReleases, type Case } from '../../support/fault-scenarios.ts';
import { boot } from '../../support/fault-state.ts';
import { startRole } from '../../support/role-process.ts';
import { openTopics, startWorldRelay } from '../../support/world-relay.ts';

let folder: string;
let context: NativeContext;
let server: RunningService;
let world: DeliveryWorld;
let relay: { stop(): Promise<void> };

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-postgres-')));
  context = await durablePostgres(folder);
  server = await startPostgres(context);
  world = await DeliveryWorld.open(postgresUrl(context.ports.database, context.credentials.databasePassword, 'postgres'));
  await publishReleases(world);
  // Nothing is minted on a server that started anew before its relay has compared it with the topics (I26).
  relay = startWorldRelay(world, await openTopics(world));
});
afterAll(async () => {
  await relay.stop();
  await world.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** As the consumer does: what a database that is away refused is done again once it is back. */
async function folded(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await work();
      return;
    } catch (thrown) {
      const failure = asDatabaseFailure(thrown);
      if (!(failure instanceof Failure) || failure.kind !== 'dependency') throw thrown;
      await delay(50);
    }
  }
}

test('PostgreSQL restarted and killed under load: every boot comes to rest with one AssetsReady, nothing is dead-lettered, the roles live on (I3, I17, I18)', async () => {
  const startedAt = performance.now();
  const roles = [startRole(world, { variables: { WAYBILL_LEASE_MS: '5000' } }), startRole(world, { variables: { WAYBILL_LEASE_MS: '5000' } })];
  const cases: Case[] = [];
  let recovered = 0;
  try {
    for (const how of ['restart', 'kill', 'restart', 'kill'] as const) {
      const load = Array.from({ length: 12 }, async (_, number) => {
        await delay(number * 100);
        let one: Case | undefined;
        // openCase sets the world's org, so each case keeps to itself until its record is in.
        await folded(async () => { one = await opened(); });
        if (one !== undefined) cases.push(one);
      });
      await delay(500);
      if (how === 'restart') await server.stop();
      else process.kill(server.pid, 'SIGKILL');
      await server.ended;
      await delay(500);
      server = await startPostgres(context);
      const backAt = performance.now();
      await Promise.all(load);
      await until(async () => (await world.database.raw<{ rows: unknown[] }>('select from pending')).rows.length === 0);
      recovered = Math.max(recovered, performance.now() - backAt);
    }
    for (const role of roles) expect(role.end(), role.said().slice(-2_000)).toBeUndefined();
    for (const one of cases) {
      expect((await world.said(one.workspace)).map(({ type }) => type)).toEqual(['AssetsReady']);
      expect(world.files(one.workspace)).toEqual(placed('seo', 'voice'));
      expect(await boot(one)).toEqual([]);
    }
    expect(cases).toHaveLength(48);
    expect((await world.database.raw<{ rows: unknown[] }>('select from dead_letters')).rows).toEqual([]);
  } finally {
    await Promise.all(roles.map(async (role) => { await role.kill(); }));
  }
  recordFigures('postgres-restart', {
    about: 'PostgreSQL restarts', events: cases.length * 4, faults: { 'PostgreSQL restarted': 2, 'PostgreSQL killed': 2 }, kept: { lost: 0, of: cases.length },
    boots: { wrong: 0, of: cases.length }, recoveryMs: { 'PostgreSQL back, all at rest (slowest)': recovered }, seconds: (performance.now() - startedAt) / 1000,
  });
});

let opening: Promise<unknown> = Promise.resolve();
/** A case whose record is in. One after the other, for the world has one org at a time. */
async function opened(): Promise<Case> {
  const open = opening.then(async () => {
    const one = await openCase(world);
    await world.record(one.workspace, { template: 'seo', plugins: ['voice'] });
    return one;
  });
  opening = open.catch(() => undefined);
  return await open;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error('the workspaces did not come to rest within 60 s');
    await delay(20);
  }
}
