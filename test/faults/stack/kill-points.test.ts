import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { stepNames } from '../../../process/steps.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { probedPaths, publishReleases, scenarios, wholeContents, type Scenario } from '../../support/fault-scenarios.ts';
import { killAt, killPointsOf, newTally, referenceRun } from '../../support/kill-points.ts';
import { startPoller, type ProbePoller } from '../../support/probe-poller.ts';

/** The steps of the file work that the scenarios of this file have to reach. */
const volumeSteps = [
  'inspect:test', 'fence:make-attempt', 'fence:make-aside', 'fence:make-tree', 'fence:adopt', 'fence:verify-adopted', 'fence:unlink', 'fence:rmdir',
  'fence:check', 'survey:judge', 'walk:open', 'build:write', 'build:verify', 'build:sync', 'apply:judge', 'apply:aside', 'apply:judge-aside', 'apply:link',
  'apply:make-directory', 'apply:rename-directory', 'apply:judge-directory', 'apply:aside-directory', 'apply:remove-directory', 'apply:delete-denied', 'apply:sync',
  'keep:link', 'keep:unlink', 'probe:read', 'settle:unlink-tree', 'settle:rmdir-tree', 'settle:judge-aside', 'settle:delete-aside', 'settle:rmdir',
].map((name) => `volume/${name}`);

const tally = newTally();
const startedAt = performance.now();
let world: DeliveryWorld;
let poller: ProbePoller;

beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  poller = startPoller(probedPaths, wholeContents);
});
afterAll(async () => { await world.close(); });

describe('the deliveries role, killed at every step of', () => {
  test.each(Object.entries<Scenario>(scenarios))('%s, leaves what its successor brings to the state of an uninterrupted run (C9, C11, C13, I8, I9)', async (name, scenario) => {
    const reference = await referenceRun(world, scenario);
    const faults: string[] = [];
    for (const [number, point] of killPointsOf(reference.traces).entries()) {
      // Every fifth time the successor is a process too.
      faults.push(...await killAt(world, scenario, point, reference, tally, { restarts: number % 5 === 0, onVolume: (volume) => { poller.watch(volume); } }));
    }
    expect(faults, name).toEqual([]);
  });
});

test('every listed step was reached and died at, and no reader found half a file', async () => {
  const { probes, halves } = await poller.stop();
  recordFigures('kill-points', {
    about: 'kill points', events: tally.events, faults: { SIGKILL: tally.hit }, points: { hit: tally.hit, total: tally.total },
    kept: { lost: tally.userFilesLost, of: tally.userFiles }, probes: { halves: halves.length, of: probes }, boots: { wrong: tally.wrongBoots, of: tally.boots },
    plaintext: { found: tally.plaintextFound, of: tally.plaintextLooks }, seconds: (performance.now() - startedAt) / 1000,
  });
  expect(halves).toEqual([]);
  expect([...stepNames, ...volumeSteps].filter((step) => !tally.steps.has(step))).toEqual([]);
});
