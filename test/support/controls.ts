import { truncateSync } from 'node:fs';
import { join } from 'node:path';

import type { startAttempt } from '../../delivery/start.ts';
import type { Break } from './broken-build.ts';
import type { DeliveryWorld } from './delivery-world.ts';
import { openCase, scenarios, type Scenario } from './fault-scenarios.ts';
import { boot } from './fault-state.ts';
import { attemptEnded, freezeAt } from './freeze-run.ts';
import { freezeStories } from './freeze-stories.ts';
import { injectAt, injections } from './inject-run.ts';
import { faultsOf, killAt, newTally } from './kill-points.ts';
import { runScenario, type ScenarioRun } from './fault-run.ts';
import { startRole } from './role-process.ts';
import { raceWakes } from './wake-races.ts';

/** A check of the harness: what it finds wrong with the build at `root`. Sound: nothing. */
export type Check = (world: DeliveryWorld, root: string, references: ReadonlyMap<Scenario, ScenarioRun>) => Promise<readonly string[]>;

const killed = (scenario: Scenario, at: number, step: string, nth: number): Check => async (world, root, references) => {
  const reference = references.get(scenario);
  if (reference === undefined) throw new Error(`no reference run of ${scenario.name}`);
  return await killAt(world, scenario, { at, step, nth }, reference, newTally(), { root });
};

const uninterrupted = (scenario: Scenario): Check => async (world, root, references) =>
  faultsOf(await runScenario(world, scenario, { root }), references.get(scenario)?.state ?? {});

const frozen = (story: keyof typeof freezeStories, step: string, nth: number): Check => async (world, root) =>
  (await freezeAt(world, freezeStories[story], step, nth, { root })).faults;

const injected = (name: keyof typeof injections, step: string, nth: number): Check => async (world, root) =>
  (await injectAt(world, injections[name], step, nth, { root })).faults;

/** The user cuts an identity file short between apply and probe: whatever is said then, it is not that the set is there. */
const spoiledBeforeProbe: Check = async (world, root) => {
  const one = await openCase(world);
  const role = startRole(world, { fault: { step: 'probe', nth: 1, signal: 'SIGSTOP' }, root });
  try {
    await world.record(one.workspace, { template: 'seo', plugins: ['voice'] });
    await role.stopped();
    truncateSync(join(world.volume(one.workspace), 'configs/system-prompt.md'), 3);
    const from = role.said().length;
    role.signal('SIGCONT');
    await attemptEnded(role, from);
    return await boot(one) ?? [];
  } finally {
    await role.kill();
  }
};

const raced: Check = async (world, root) => {
  const { startAttempt: start } = await import(join(root, 'delivery/start.ts')) as { startAttempt: typeof startAttempt }; // the same module, from that build
  return (await raceWakes(world.database, 'seo', 400, start)).lost;
};

/** The code broken on purpose, and the check that has to catch it. */
export interface Control {
  readonly name: string;
  readonly breaks: readonly Break[];
  readonly check: Check;
}

export const controls: readonly Control[] = [
  {
    name: 'the fence leaves the folders of earlier attempts',
    breaks: [{ file: 'delivery/volume/fence.ts', find: 'if (other < attempt) removeAttempt(', replace: 'if (other < 0) removeAttempt(' }],
    check: frozen('a boot whose template changes meanwhile', 'volume/apply:link', 1),
  },
  {
    name: 'permit, finish and grant do not look at the truth again',
    breaks: [{ file: 'delivery/while-planned.ts', find: 'if (!(await isStillPlanned(trx, plan, locked, options))) {', replace: 'if (!(await isStillPlanned(trx, plan, locked, options)) && plan.attempt < 0) {' }],
    check: injected('refund', 'build', 1),
  },
  {
    name: 'a superseded attempt may go on',
    breaks: [
      { file: 'delivery/while-planned.ts', find: "if (locked === undefined || claim === undefined || locked.currentAttempt !== plan.attempt) return 'superseded';", replace: "if (locked === undefined) return 'superseded';" },
      { file: 'delivery/while-planned.ts', find: "    if (claim.outcome !== null) return 'superseded';\n", replace: '' },
      { file: 'delivery/resolve-template-assets.ts', find: 'current.currentAttempt !== plan.attempt || ', replace: '' },
    ],
    check: frozen('a boot that only takes longer than its lease', 'probe', 1),
  },
  {
    name: 'ready is said before apply',
    breaks: [{
      file: 'delivery/attempt.ts',
      find: "    const applied = built === 'done' ? await this.#permitAndApply(scope, survey)",
      replace: "    if (built === 'done') await finish(database, plan, { kept: [], directories: [], attempts: this.#tries }, options);\n    const applied = built === 'done' ? await this.#permitAndApply(scope, survey)",
    }],
    check: killed(scenarios.boot, 0, 'permit:commit', 1),
  },
  {
    name: 'readiness by presence: the probe looks whether a file is there',
    breaks: [
      { file: 'delivery/volume/probe.ts', find: "state: digest.size === file.size && digest.sha256 === file.sha256 ? 'ok' : 'different'", replace: "state: 'ok'" },
    ],
    check: spoiledBeforeProbe,
  },
  {
    name: 'copies of what may no longer be held stay in aside/',
    breaks: [{ file: 'delivery/volume/settle.ts', find: "    aside.unlink(name);\n    unlinked += 1;\n", replace: '' }],
    check: uninterrupted(scenarios.refund),
  },
  {
    name: 'permit stores no receipts and no aside record',
    breaks: [
      { file: 'delivery/permit.ts', find: '    await writeAside(trx, attempt, record);\n', replace: '' },
    ],
    check: killed(scenarios.upgrade, 0, 'volume/apply:link', 1),
  },
  {
    name: 'a file of ours is whatever stands at its path',
    breaks: [
      { file: 'delivery/volume/apply.ts', find: "const ours = typeof here === 'object' && entry.ours.includes(here.sha256);", replace: "const ours = typeof here === 'object';" },
      { file: 'delivery/volume/aside.ts', find: 'entry.ours.includes(found.sha256)', replace: 'true' },
      { file: 'delivery/volume/survey.ts', find: "if (typeof digest === 'object' && [...(input.receipts", replace: "if (typeof digest === 'object') return 'ours';\n  if (typeof digest === 'object' && [...(input.receipts" },
    ],
    check: uninterrupted(scenarios.upgrade),
  },
  {
    name: 'start neither holds the locks nor compares n, so that a wake between its look and its end is lost',
    breaks: [
      { file: 'delivery/resolve-template-assets.ts', find: "  await lockOrgItems(trx, concerned.map((itemId) => ({ org_id: workspace.orgId, item_id: itemId })), 'shared');\n", replace: '' },
      { file: 'process/pending.ts', find: 'delete from pending where workspace_id = :workspaceId and n = :n and attempt = :attempt', replace: 'delete from pending where workspace_id = :workspaceId and (n = :n or true) and attempt = :attempt' },
    ],
    check: raced,
  },
];
