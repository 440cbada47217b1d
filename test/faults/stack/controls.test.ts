import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { breakBuild } from '../../support/broken-build.ts';
import { controls } from '../../support/controls.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import type { ScenarioRun } from '../../support/fault-run.ts';
import { publishReleases, scenarios, voice2, type Scenario } from '../../support/fault-scenarios.ts';
import { moveVoice } from '../../support/inject-run.ts';
import { referenceRun } from '../../support/kill-points.ts';

const checkout = resolve(import.meta.dirname, '../../..');
const startedAt = performance.now();
const references = new Map<Scenario, ScenarioRun>();
let caught = 0;
let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishReleases(world);
  await world.publish('voice', '2.0.0', voice2, { kind: 'plugin' });
  await moveVoice(world, '1.0.0');
  for (const scenario of [scenarios.boot, scenarios.upgrade, scenarios.refund]) references.set(scenario, await referenceRun(world, scenario));
});
afterAll(async () => {
  await world.close();
  recordFigures('controls', { about: 'controls', faults: {}, controls: { caught, of: controls.length }, seconds: (performance.now() - startedAt) / 1000 });
});

describe('the harness finds nothing wrong with the build as it is, and catches one in which', () => {
  test.each(controls.map((control) => [control.name, control] as const))('%s', async (_name, { breaks, check }) => {
    expect(await check(world, checkout, references), 'a sound build').toEqual([]);
    const broken = breakBuild(breaks);
    try {
      const found = await check(world, broken.root, references).catch((error: unknown) => [`the run itself failed: ${String(error)}`]);
      if (found.length > 0) caught += 1;
      expect(found, 'a broken build').not.toEqual([]);
      expect(found.filter((fault) => fault.startsWith('the run itself failed')), 'caught by what it did, not by accident').toEqual([]);
    } finally {
      broken.remove();
      await world.database.raw('delete from pending');
    }
  });
});
