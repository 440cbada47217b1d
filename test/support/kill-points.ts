import { expect } from 'vitest';

import type { DeliveryWorld } from './delivery-world.ts';
import { closeCase, runScenario, type ScenarioRun } from './fault-run.ts';
import type { Scenario } from './fault-scenarios.ts';

/** One place to die at: the n-th passing of a step during one event of a scenario. */
export interface KillPoint {
  readonly at: number;
  readonly step: string;
  readonly nth: number;
}

/** Every step that the uninterrupted run reached, at its first and its last passing. */
export function killPointsOf(traces: readonly (readonly string[])[]): KillPoint[] {
  return traces.flatMap((trace, at) => [...Map.groupBy(trace, (step) => step)].flatMap(([step, passings]) =>
    [...new Set([1, passings.length])].map((nth) => ({ at, step, nth }))));
}

/** What is wrong with a run, against the uninterrupted one. Empty: nothing. */
export function faultsOf(run: ScenarioRun, reference: Record<string, unknown>): string[] {
  const differing = Object.keys(reference).filter((part) => {
    try {
      expect(run.state[part]).toEqual(reference[part]);
      return false;
    } catch {
      return true;
    }
  }).map((part) => `${part}: ${JSON.stringify(run.state[part])} instead of ${JSON.stringify(reference[part])}`);
  return [...differing, ...run.wrongBoots.map((what) => `boot ${what}`), ...run.plaintext.map((place) => `plaintext in ${place}`)];
}

export interface Tally {
  hit: number;
  total: number;
  boots: number;
  wrongBoots: number;
  plaintextLooks: number;
  plaintextFound: number;
  userFiles: number;
  userFilesLost: number;
  events: number;
  steps: Set<string>;
}

export const newTally = (): Tally =>
  ({ hit: 0, total: 0, boots: 0, wrongBoots: 0, plaintextLooks: 0, plaintextFound: 0, userFiles: 0, userFilesLost: 0, events: 0, steps: new Set() });

/** The uninterrupted run, whose state and steps the others are held against. */
export async function referenceRun(world: DeliveryWorld, scenario: Scenario): Promise<ScenarioRun> {
  const run = await runScenario(world, scenario);
  expect(world.files(run.one.workspace), scenario.name).toEqual(scenario.holds);
  expect([...run.wrongBoots, ...run.plaintext], scenario.name).toEqual([]);
  await closeCase(run.one);
  return run;
}

/** Dies at one point, comes back, and tells what differs. */
export async function killAt(
  world: DeliveryWorld, scenario: Scenario, point: KillPoint, reference: ScenarioRun, tally: Tally,
  options: { restarts?: boolean; root?: string; onVolume?: (volume: string) => void } = {},
): Promise<string[]> {
  const { at, step, nth } = point;
  const run = await runScenario(world, scenario, { ...options, at, fault: { step, nth, signal: 'SIGKILL' } });
  const faults = faultsOf(run, reference.state);
  const users = Object.entries<string>(scenario.holds).filter(([, text]) => text.endsWith('by the user.\n'));
  const found = world.files(run.one.workspace);
  tally.total += 1;
  tally.hit += run.struck ? 1 : 0;
  if (run.struck) tally.steps.add(step);
  tally.boots += run.boots;
  tally.wrongBoots += run.wrongBoots.length;
  tally.plaintextLooks += scenario.gone.length;
  tally.plaintextFound += run.plaintext.length > 0 ? 1 : 0;
  tally.userFiles += users.length;
  tally.userFilesLost += users.filter(([path, text]) => found[path] !== text).length;
  tally.events += scenario.events.length;
  await closeCase(run.one);
  const where = `event ${at + 1}, ${step} #${nth}`;
  return [...(run.struck ? [] : [`${where}: never reached`]), ...faults.map((fault) => `${where}: ${fault}`)];
}
