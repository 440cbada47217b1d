import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { closeCase, runScenario } from '../../support/fault-run.ts';
import { probedPaths, publishReleases, scenarios, voice2, wholeContents } from '../../support/fault-scenarios.ts';
import { injectAt, injections, moveVoice, type Injection } from '../../support/inject-run.ts';
import { startPoller, type ProbePoller } from '../../support/probe-poller.ts';

const startedAt = performance.now();
const tally = { hit: 0, boots: 0, wrong: 0, waited: 0, plaintextLooks: 0, plaintextFound: 0 };
let world: DeliveryWorld;
let poller: ProbePoller;
let steps: [step: string, nth: number][] = [];
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  await world.publish('voice', '2.0.0', voice2, { kind: 'plugin' });
  // Back to the first, which the scenarios expect.
  await moveVoice(world, '1.0.0');
  // Its fan-out is done before anybody boots.
  await world.settle();
  const reference = await runScenario(world, scenarios.boot);
  await closeCase(reference.one);
  steps = [...Map.groupBy(reference.traces.flat(), (step) => step)].map(([step, passings]) => [step, passings.length]);
  poller = startPoller(probedPaths, [...wholeContents, ...Object.values(voice2)]);
});
afterAll(async () => { await world.close(); });

describe('while a boot is held still at every step, the event', () => {
  test.each(Object.entries<Injection>(injections))('%s, is obeyed at the next look at the truth, and the next boot is right (A8, C7, C13, I8, I9)', async (name, injection) => {
    const faults: string[] = [];
    for (const [step, nth] of steps) {
      const run = await injectAt(world, injection, step, nth, { onVolume: (volume) => { poller.watch(volume); } });
      tally.hit += 1;
      tally.boots += run.boots;
      tally.waited += run.waited ? 1 : 0;
      tally.plaintextLooks += injection.forbids === null ? 0 : 1;
      tally.plaintextFound += run.faults.some((fault) => fault.startsWith('plaintext')) ? 1 : 0;
      tally.wrong += run.faults.length;
      faults.push(...run.faults.map((fault) => `${name} at ${step}: ${fault}`));
    }
    expect(faults).toEqual([]);
  });
});

test('no reader found half a file, and some events had to wait for the transaction that was held still', async () => {
  const { probes, halves } = await poller.stop();
  recordFigures('injections', {
    about: 'injections', events: tally.hit * 4, faults: { 'event in mid-step': tally.hit, 'of them waited for a lock': tally.waited },
    points: { hit: tally.hit, total: steps.length * Object.keys(injections).length }, probes: { halves: halves.length, of: probes },
    boots: { wrong: tally.wrong, of: tally.boots }, plaintext: { found: tally.plaintextFound, of: tally.plaintextLooks }, seconds: (performance.now() - startedAt) / 1000,
  });
  expect(halves).toEqual([]);
  expect(tally.waited).toBeGreaterThan(0);
});
