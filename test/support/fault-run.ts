import { setTimeout as delay } from 'node:timers/promises';

import type { DeliveryWorld } from './delivery-world.ts';
import { openCase, type Case, type Scenario } from './fault-scenarios.ts';
import { boot, plaintextOf, stateOf } from './fault-state.ts';
import { startRole, type RoleProcess } from './role-process.ts';
import type { StepFault } from './step-signal.ts';

/** What came of one run of a scenario. */
export interface ScenarioRun {
  readonly one: Case;
  readonly state: Record<string, unknown>;
  /** The steps of the first process, by event of the scenario. */
  readonly traces: readonly string[][];
  /** The process really died there. */
  readonly struck: boolean;
  /** Boots that started, right after the death and at rest, and what they found wrong. */
  readonly boots: number;
  readonly wrongBoots: readonly string[];
  /** Places where plaintext of what may no longer be held lies at rest. */
  readonly plaintext: readonly string[];
}

export interface ScenarioOptions {
  /** The event during which the fault strikes, from 0. */
  readonly at?: number;
  readonly fault?: StepFault;
  readonly root?: string | undefined;
  /** The successor is a process too, instead of this one. */
  readonly restarts?: boolean;
  readonly onVolume?: (volume: string) => void;
}

/** Nothing is due, and every attempt has put its folder in order. */
async function isAtRest({ world, workspace }: Case): Promise<boolean> {
  const { rows: [left] } = await world.database.raw<{ rows: { open: boolean }[] }>(
    `select exists (select from pending where workspace_id = :workspace)
       or exists (select from attempts where workspace_id = :workspace and ended_at is null) as open`, { workspace },
  );
  return left?.open === false;
}

/** Every attempt that it began has ended: the last steps come after the last commit. */
function isIdle(role: RoleProcess): boolean {
  const begun = role.trace().filter((step) => step === 'claim:committed').length;
  return (role.said().match(/"msg":"attempt (?:ended|failed)/gu) ?? []).length >= begun;
}

/** Until the process has brought the workspace to rest, or has died. */
export async function untilRest(one: Case, role: RoleProcess, deadlineMs = 30_000): Promise<'rest' | 'dead'> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    if (role.end() !== undefined) return 'dead';
    if (await isAtRest(one) && isIdle(role)) return 'rest';
    if (Date.now() > deadline) throw new Error(`the workspace did not come to rest within ${deadlineMs} ms:\n${role.said().slice(-2_000)}`);
    await delay(10);
  }
}

/** The lease of a dead or frozen worker runs out now instead of later. */
export async function expireLeases(world: DeliveryWorld): Promise<void> {
  await world.database.raw(`update pending set lease_until = '-infinity' where lease_until > clock_timestamp()`);
}

/** What a server with idle_in_transaction_session_timeout does to the transaction of a process that is frozen in it. */
export async function endIdleTransactions(world: DeliveryWorld): Promise<void> {
  const idle = `select pid from pg_stat_activity where datname = current_database() and application_name = 'waybill deliveries' and state like 'idle in transaction%'`;
  const deadline = Date.now() + 5_000;
  await world.database.raw(`select pg_terminate_backend(pid) from (${idle}) frozen`);
  while ((await world.database.raw<{ rows: unknown[] }>(idle)).rows.length > 0) {
    if (Date.now() > deadline) throw new Error('a terminated backend did not end');
    await delay(5);
  }
}

/**
 * Plays a scenario with the deliveries role as a real process. With a fault the process dies at that step; its lease runs
 * out, a successor brings the workspace to rest, and the rest of the scenario follows.
 */
export async function runScenario(world: DeliveryWorld, scenario: Scenario, options: ScenarioOptions = {}): Promise<ScenarioRun> {
  const { at = 0, fault, root, restarts = false } = options;
  const one = await openCase(world);
  await scenario.prepare(one);
  options.onVolume?.(world.volume(one.workspace));
  const logs: string[] = [];
  const wrongBoots: string[] = [];
  const traces: string[][] = [];
  let [boots, struck] = [0, false];
  const tryBoot = async (when: string): Promise<void> => {
    const wrong = await boot(one);
    if (wrong === undefined) return;
    boots += 1;
    wrongBoots.push(...wrong.map((what) => `${when}: ${what}`));
  };

  let role: RoleProcess | undefined;
  try {
    for (const [index, event] of scenario.events.entries()) {
      const strikes = index === at && fault !== undefined;
      if (strikes || role === undefined || role.end() !== undefined) {
        await role?.kill();
        role = strikes || !struck || restarts ? startRole(world, { fault: strikes ? fault : undefined, root }) : undefined;
      }
      await event(one);
      if (role === undefined) {
        await world.settle();
      } else {
        const before = traces.flat().length;
        if (await untilRest(one, role) === 'dead') {
          if (!strikes || await role.ended !== fault.signal) throw new Error(`the role ended (${role.end() ?? ''}) by itself:\n${role.said().slice(-2_000)}`);
          struck = true;
          await tryBoot(`after the death at ${fault.step}`);
          await expireLeases(world);
          logs.push(role.said());
          traces.push(role.trace().slice(before));
          role = restarts ? startRole(world, { root }) : undefined;
          if (role === undefined) await world.settle();
          else await untilRest(one, role);
        } else {
          traces.push(role.trace().slice(before));
        }
      }
      await tryBoot('at rest');
    }
  } finally {
    if (role !== undefined) logs.push(role.said());
    await role?.kill();
  }
  const plaintext = (await Promise.all(scenario.gone.map(async (item) => await plaintextOf(one, item, logs)))).flat();
  return { one, state: await stateOf(one), traces, struck, boots, wrongBoots, plaintext };
}

/** The case is over: its workspace is removed, so that later events of shared items do not wake it. */
export async function closeCase({ world, workspace, org }: Case): Promise<void> {
  world.org = org;
  await world.record(workspace, { status: 'removed' });
  await world.settle();
}
