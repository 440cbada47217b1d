import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { findItem } from '../../../catalogue/lookup.ts';
import { foldRecords } from '../../../delivery/fold-records.ts';
import type { RecordEvent } from '../../../delivery/workspace-record.ts';
import { tx, type Database } from '../../../process/database.ts';
import { provisionWorkspace, type CatalogueLookup } from '../../../producers/control-plane.ts';
import { parseEvent } from '../../../schemas/parse-event.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { untilRest } from '../../support/fault-run.ts';
import { openCase, placed, probedPaths, publishReleases, wholeContents } from '../../support/fault-scenarios.ts';
import { boot } from '../../support/fault-state.ts';
import { openProducers } from '../../support/producer-databases.ts';
import { startPoller } from '../../support/probe-poller.ts';
import { startRole } from '../../support/role-process.ts';
import { runTemplateChanger } from '../../support/template-changer.ts';

const writers = 5;
const changesEach = 10;
const everyMs = 500;

let world: DeliveryWorld;
let controlPlane: Database;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  controlPlane = await openProducers(world.isolated.databaseUrl, 'control_plane');
});
afterAll(async () => {
  await controlPlane.destroy();
  await world.close();
});

interface OutboxRow {
  readonly id: number;
  readonly type: RecordEvent['type'];
  readonly body: unknown;
}

const shuffled = <T>(all: readonly T[]): T[] => all.map((one) => ({ one, at: Math.random() })).toSorted((a, b) => a.at - b.at).map(({ one }) => one);

test('50 template changes in five seconds from five processes, folded in any order and more than once: at rest one outcome, the last writer\'s (C7, A3, I6)', async () => {
  const startedAt = performance.now();
  const one = await openCase(world);
  world.adopt(one.workspace);
  const poller = startPoller(probedPaths, wholeContents);
  poller.watch(world.volume(one.workspace));
  const catalogue: CatalogueLookup = { findItem: async (itemId) => await findItem(world.database, itemId) };
  await controlPlane.transaction(async (trx) => { await provisionWorkspace(trx, catalogue, { workspace_id: one.workspace, org_id: one.org, runtime: 'claude-code', template: 'seo' }); });
  const roles = [startRole(world), startRole(world)];
  const end = new AbortController();
  let folded = 0;
  /** Two consumers that see the same events in orders of their own, some of them again and again. */
  const folds = [1, 2].map(async () => {
    const seen: OutboxRow[] = [];
    for (let idle = 0; idle < 3;) {
      const { rows } = await controlPlane.raw<{ rows: OutboxRow[] }>('select id, type, body from waybill_outbox order by id');
      const fresh = rows.filter((row) => !seen.some((other) => other.id === row.id));
      seen.push(...fresh);
      const again = shuffled(seen).slice(0, 3);
      for (const row of shuffled([...fresh, ...again])) {
        await tx(world.database, async (trx) => { await foldRecords(trx, [parseEvent(row.type, row.body)]); });
        folded += 1;
      }
      if (end.signal.aborted && fresh.length === 0) idle += 1;
      await delay(20);
    }
  });
  const templates = ['seo-next', 'seo'];
  try {
    await Promise.all(Array.from({ length: writers }, async (_, writer) => {
      await runTemplateChanger({
        databaseUrl: world.isolated.databaseUrl, schema: 'control_plane', workspace: one.workspace, everyMs,
        templates: Array.from({ length: changesEach }, (_, number) => templates[(number + writer) % 2] ?? 'seo'),
      });
    }));
    end.abort();
    await Promise.all(folds);
    const restedAt = performance.now();
    const [role] = roles;
    if (role === undefined) throw new Error('no role was started');
    await untilRest(one, role);
    const recovered = performance.now() - restedAt;

    const { rows: [last] } = await controlPlane.raw<{ rows: { template: 'seo' | 'seo-next'; generation: number; record_version: number }[] }>(
      `select body->>'template' as template, (body->>'generation')::int as generation, (body->>'record_version')::int as record_version from waybill_outbox order by (body->>'record_version')::int desc limit 1`,
    );
    expect(last).toBeDefined();
    if (last === undefined) return;
    const said = await world.said(one.workspace);
    expect(said.at(-1)).toMatchObject({ type: 'AssetsReady', body: { template: last.template, generation: last.generation } });
    expect(said.filter(({ type, body }) => type === 'AssetsReady' && body['generation'] === last.generation)).toHaveLength(1);
    expect(world.files(one.workspace)).toEqual(placed(last.template));
    expect(await boot(one)).toEqual([]);
    const { probes, halves } = await poller.stop();
    expect(halves).toEqual([]);
    recordFigures('template-changes', {
      about: 'template changes', events: folded, faults: { 'records minted meanwhile': last.record_version }, kept: { lost: 0, of: last.record_version },
      probes: { halves: 0, of: probes }, boots: { wrong: 0, of: 1 }, recoveryMs: { 'after the last change': recovered }, seconds: (performance.now() - startedAt) / 1000,
    });
  } finally {
    end.abort();
    await Promise.allSettled(folds);
    await Promise.all(roles.map(async (role) => { await role.kill(); }));
  }
});
