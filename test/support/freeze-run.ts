import { setTimeout as delay } from 'node:timers/promises';

import type { DeliveryWorld } from './delivery-world.ts';
import { endIdleTransactions, expireLeases, untilRest } from './fault-run.ts';
import { openCase, type Case } from './fault-scenarios.ts';
import { boot, plaintextOf, stateOf } from './fault-state.ts';
import { startRole, type RoleProcess } from './role-process.ts';

/** What happens to the workspace while its worker is frozen, past its lease. */
export interface FreezeStory {
  readonly name: string;
  readonly prepare: (one: Case) => Promise<void>;
  /** What the worker that freezes works on. */
  readonly begins: (one: Case) => Promise<void>;
  readonly meanwhile: (one: Case) => Promise<void>;
  readonly gone: readonly ('seo' | 'seo-next' | 'voice')[];
  /** Once AssetsReady was said before it, `gone` goes at the next boot only. */
  readonly staysUntilBoot?: boolean;
}

export interface FreezeRun {
  /** What a thawed zombie changed, or left. Empty: nothing. */
  readonly faults: readonly string[];
  readonly boots: number;
}

/** Until the attempt that was frozen has ended, as the log of its process says. */
export async function attemptEnded(role: RoleProcess, from: number): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!/attempt (?:ended|failed)|cannot go on|deliveries wait/u.test(role.said().slice(from))) {
    if (role.end() !== undefined) return;
    if (Date.now() > deadline) throw new Error(`the thawed worker did not end its attempt:\n${role.said().slice(-2_000)}`);
    await delay(5);
  }
}

/**
 * Freezes the deliveries role at a step for longer than its lease, lets the story go on, brings the workspace to rest with a
 * successor, and thaws the zombie: it may change nothing, neither on the volume nor in the database (I24).
 */
export async function freezeAt(
  world: DeliveryWorld, story: FreezeStory, step: string, nth: number, options: { root?: string | undefined; onVolume?: (volume: string) => void } = {},
): Promise<FreezeRun> {
  const one = await openCase(world);
  await story.prepare(one);
  options.onVolume?.(world.volume(one.workspace));
  const role = startRole(world, { fault: { step, nth, signal: 'SIGSTOP' }, root: options.root });
  try {
    await story.begins(one);
    await role.stopped();
    const frozenAt = role.said().length;
    // It may be frozen in the middle of a transaction, which a server ends after a while.
    await endIdleTransactions(world);
    // What was announced before may stay until the next boot (revocation table).
    const wasReady = (await world.said(one.workspace)).some(({ type }) => type === 'AssetsReady');
    await story.meanwhile(one);
    await expireLeases(world);
    if (options.root === undefined) {
      await world.settle();
    } else {
      // Of the same build as the zombie.
      const successor = startRole(world, { root: options.root });
      try {
        await untilRest(one, successor);
      } finally {
        await successor.kill();
      }
    }
    const settled = await stateOf(one);
    const started = await boot(one);
    role.signal('SIGCONT');
    await attemptEnded(role, frozenAt);
    // It goes on as a worker after that: what it claims now it may do.
    const thawed = await stateOf(one);
    const faults = Object.keys(settled).filter((part) => JSON.stringify(settled[part]) !== JSON.stringify(thawed[part]))
      .map((part) => `${part}: ${JSON.stringify(thawed[part])} instead of ${JSON.stringify(settled[part])}`);
    const plaintext = (await Promise.all((wasReady && story.staysUntilBoot === true ? [] : story.gone).map(async (item) => await plaintextOf(one, item, [role.said()])))).flat();
    await role.kill();
    await world.settle();
    world.org = one.org;
    await world.record(one.workspace, { status: 'removed' });
    await world.settle();
    return {
      boots: started === undefined ? 0 : 1,
      faults: [...faults, ...(started ?? []).map((what) => `boot: ${what}`), ...plaintext.map((place) => `plaintext in ${place}`)],
    };
  } finally {
    await role.kill();
  }
}
