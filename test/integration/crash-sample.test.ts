import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeliveryWorld } from '../support/delivery-world.ts';
import { probedPaths, publishReleases, scenarios, wholeContents, type ScenarioName } from '../support/fault-scenarios.ts';
import type { ScenarioRun } from '../support/fault-run.ts';
import { freezeAt } from '../support/freeze-run.ts';
import { freezeStories } from '../support/freeze-stories.ts';
import { injectAt, injections } from '../support/inject-run.ts';
import { killAt, newTally, referenceRun } from '../support/kill-points.ts';
import { startPoller, type ProbePoller } from '../support/probe-poller.ts';

/**
 * A few of the several hundred points of `npm run test:faults`, on the real role in a process of its own: the ones where
 * most has gone wrong in systems of this kind.
 */
const kills: [scenario: ScenarioName, at: number, step: string, nth: number][] = [
  ['upgrade', 0, 'permit:committed', 1],
  ['upgrade', 0, 'volume/apply:link', 2],
  ['upgrade', 0, 'finish:commit', 1],
  ['refund', 1, 'finish:committed', 1],
  ['refund', 1, 'volume/apply:aside', 2],
];

let world: DeliveryWorld;
let poller: ProbePoller;
const references = new Map<ScenarioName, ScenarioRun>();
const watched = { onVolume: (volume: string): void => { poller.watch(volume); } };
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  poller = startPoller(probedPaths, wholeContents);
  for (const name of ['upgrade', 'refund'] as const) references.set(name, await referenceRun(world, scenarios[name]));
});
afterAll(async () => { await world.close(); });

describe('the deliveries role, a process of its own', () => {
  test.each(kills)('killed in %s, event %i, at %s #%i, leaves what its successor brings to the state of an uninterrupted run (I8, I9)', async (name, at, step, nth) => {
    const reference = references.get(name);
    expect(reference).toBeDefined();
    if (reference === undefined) return;
    expect(await killAt(world, scenarios[name], { at, step, nth }, reference, newTally(), watched)).toEqual([]);
  });

  test.each(['permit:commit', 'volume/apply:link', 'probe'])('frozen past its lease at %s while the template changes, makes nothing visible and commits nothing once thawed (I24)', async (step) => {
    expect((await freezeAt(world, freezeStories['a boot whose template changes meanwhile'], step, 1, watched)).faults).toEqual([]);
  });

  test.each(['build', 'probe'])('held still at %s while its purchase is refunded as malware, leaves no byte of it (A8, C13, I9)', async (step) => {
    expect((await injectAt(world, injections.malware, step, 1, watched)).faults).toEqual([]);
  });

  test('and no reader of the probe paths found half a file meanwhile (I8)', async () => {
    const { probes, halves } = await poller.stop();
    expect(halves).toEqual([]);
    expect(probes).toBeGreaterThan(100);
  });
});
