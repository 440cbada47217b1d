import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { stepNames } from '../../../process/steps.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { openCase, probedPaths, publishReleases, scenarios, wholeContents } from '../../support/fault-scenarios.ts';
import { closeCase, runScenario, untilRest } from '../../support/fault-run.ts';
import { boot, stateOf } from '../../support/fault-state.ts';
import { attemptEnded, freezeAt } from '../../support/freeze-run.ts';
import { freezeStories } from '../../support/freeze-stories.ts';
import { startPoller, type ProbePoller } from '../../support/probe-poller.ts';
import { startRole, type RoleProcess } from '../../support/role-process.ts';

const startedAt = performance.now();
const tally = { hit: 0, total: 0, boots: 0, wrong: 0, events: 0, plaintextLooks: 0, recoveryMs: 0, steps: new Set<string>() };
let world: DeliveryWorld;
let poller: ProbePoller;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  poller = startPoller(probedPaths, wholeContents);
});
afterAll(async () => { await world.close(); });

describe('the deliveries role, frozen past its lease at every step of', () => {
  test.each(Object.entries(freezeStories))('%s, makes nothing visible and commits nothing once it is thawed (I24, I9)', async (name, story) => {
    const scenario = { ...scenarios.boot, prepare: story.prepare, events: [story.begins] };
    const reference = await runScenario(world, scenario);
    await closeCase(reference.one);
    const counts = Map.groupBy(reference.traces.flat(), (step) => step);
    const faults: string[] = [];
    for (const [step, passings] of counts) {
      // At the last passing, when most is done.
      const run = await freezeAt(world, story, step, passings.length, { onVolume: (volume) => { poller.watch(volume); } });
      tally.hit += 1;
      tally.steps.add(step);
      tally.boots += run.boots;
      tally.wrong += run.faults.length;
      tally.events += 2;
      tally.plaintextLooks += story.gone.length;
      faults.push(...run.faults.map((fault) => `${step}: ${fault}`));
    }
    tally.total += counts.size;
    expect(faults, name).toEqual([]);
  });
});

test('a lease of a second runs out by itself: another process takes over while the first is frozen, and the first commits nothing (I18, I24)', async () => {
  const one = await openCase(world);
  const variables = { WAYBILL_LEASE_MS: '1000' };
  const frozen = startRole(world, { fault: { step: 'permit:committed', nth: 1, signal: 'SIGSTOP' }, variables });
  const begun: { role?: RoleProcess; at: number } = { at: 0 };
  try {
    await scenarios.boot.events[0](one);
    await frozen.stopped();
    begun.at = performance.now();
    begun.role = startRole(world, { variables });
    await untilRest(one, begun.role);
    tally.recoveryMs = performance.now() - begun.at;
    const settled = await stateOf(one);
    expect(await boot(one)).toEqual([]);
    const frozenAt = frozen.said().length;
    frozen.signal('SIGCONT');
    await attemptEnded(frozen, frozenAt);
    expect(await stateOf(one)).toEqual(settled);
  } finally {
    await Promise.all([frozen.kill(), begun.role?.kill()]);
  }
  await closeCase(one);
});

test('every listed step of a boot was frozen at, and no reader found half a file', async () => {
  const { probes, halves } = await poller.stop();
  recordFigures('zombies', {
    about: 'zombies', events: tally.events, faults: { SIGSTOP: tally.hit }, points: { hit: tally.hit, total: tally.total },
    probes: { halves: halves.length, of: probes }, boots: { wrong: tally.wrong, of: tally.boots }, plaintext: { found: 0, of: tally.plaintextLooks },
    recoveryMs: { 'lease of 1 s, successor ready': tally.recoveryMs }, seconds: (performance.now() - startedAt) / 1000,
  });
  expect(halves).toEqual([]);
  const boots = stepNames.filter((step) => !/^(?:staged|removal|park|drift):/u.test(step));
  expect(boots.filter((step) => !tally.steps.has(step))).toEqual([]);
});
