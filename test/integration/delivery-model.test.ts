import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { DeliveryWorld } from '../support/delivery-world.ts';
import { faultsAtRest } from '../support/life-at-rest.ts';
import { history, publishLifeItems, WorkspaceLife } from '../support/workspace-life.ts';

/**
 * Generated lives of a workspace on real services: records, purchases and revocations, the catalogue, the user's hands and
 * dying workers in any order. A failure prints its seed and the shortest life found; `SEED=… npx vitest run --project
 * integration test/integration/delivery-model.test.ts` plays it again, `SEED=random HISTORIES=500` plays many others.
 */
const histories = process.env['HISTORIES'];
/** Of `npm test`, shrinking included; a slow machine plays fewer. */
const timeLimitMs = 35_000;
const numRuns = Number(histories ?? 60);
const limits = histories === undefined ? { interruptAfterTimeLimit: timeLimitMs } : {};

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await publishLifeItems(world);
});
afterAll(async () => { await world.close(); });

test('whatever happens to a workspace, at rest its files, receipts, rows and words agree with what is wanted (I6, I7, I8, I9, I25, C8, C12)', async () => {
  await fc.assert(fc.asyncProperty(history, async (steps) => {
    const life = await WorkspaceLife.begin(world);
    try {
      for (const [at, step] of steps.entries()) {
        await life.take(step);
        if (!step.rests) continue;
        await life.rest();
        expect(await faultsAtRest(life), `after step ${at + 1}`).toEqual([]);
      }
      await life.rest();
      expect(await faultsAtRest(life), 'after the last step').toEqual([]);
      await life.end();
      expect(await faultsAtRest(life), 'after its removal').toEqual([]);
    } finally {
      await life.forget();
    }
  }), { numRuns, ...limits });
}, histories === undefined ? 2 * timeLimitMs : numRuns * 20_000);
