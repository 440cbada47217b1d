import { afterAll, beforeAll, expect, test } from 'vitest';

import { openDatabase, type Database } from '../../../process/database.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { publishReleases } from '../../support/fault-scenarios.ts';
import { raceWakes } from '../../support/wake-races.ts';

let world: DeliveryWorld;
let database: Database;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  database = openDatabase(world.isolated.databaseUrl, { poolMax: 16 });
});
afterAll(async () => {
  await database.destroy();
  await world.close();
});

test('of thousands of interleavings of park, record and purchase none loses the wake (C12)', async () => {
  const startedAt = performance.now();
  const races = await raceWakes(database, 'seo', 2_000);
  recordFigures('wake-races', {
    about: 'wake races', events: races.events, faults: { 'parked before the purchase': races.parkedFirst, 'bought before the attempt': races.boughtFirst },
    kept: { lost: races.lost.length, of: races.rounds }, seconds: (performance.now() - startedAt) / 1000,
  });
  expect(races.lost).toEqual([]);
  expect(races.parkedFirst).toBeGreaterThan(100);
  expect(races.boughtFirst).toBeGreaterThan(100);
});
