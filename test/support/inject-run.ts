import { setTimeout as delay } from 'node:timers/promises';

import { setChannel } from '../../catalogue/releases.ts';
import { parseChannel, parseItemId, parseVersion } from '../../schemas/ids.ts';
import type { DeliveryWorld } from './delivery-world.ts';
import { untilRest } from './fault-run.ts';
import { openCase, placed, placedVoice2, type Case, type ItemName } from './fault-scenarios.ts';
import { boot, plaintextOf } from './fault-state.ts';
import { startRole } from './role-process.ts';

/** Something that happens to a workspace while a worker is in the middle of it. */
export interface Injection {
  readonly happens: (one: Case) => Promise<void>;
  /** What may not lie on the volume at rest, unless AssetsReady had been said before; null: nothing at once, whatever was said. */
  readonly forbids: { readonly item: ItemName; readonly atOnce: boolean } | null;
  /** What the workspace holds after one more boot. */
  readonly holds: Readonly<Record<string, string>>;
}

/** Points the channel of the plugin to another of its releases. */
export async function moveVoice(world: DeliveryWorld, version: '1.0.0' | '2.0.0'): Promise<void> {
  await setChannel(world.database, { itemId: parseItemId('voice'), version: parseVersion(version), channel: parseChannel('stable'), reason: 'a test moves it' });
}

export const injections = {
  refund: { happens: async ({ world }) => { await world.line('seo', 'refund'); }, forbids: { item: 'seo', atOnce: false }, holds: placed('voice') },
  malware: { happens: async ({ world }) => { await world.line('seo', 'malware'); }, forbids: { item: 'seo', atOnce: true }, holds: placed('voice') },
  'template change': {
    happens: async ({ world, workspace }) => { await world.record(workspace, { template: 'seo-next' }); },
    forbids: { item: 'seo', atOnce: false },
    holds: placed('seo-next', 'voice'),
  },
  'channel move': { happens: async ({ world }) => { await moveVoice(world, '2.0.0'); }, forbids: null, holds: { ...placed('seo'), ...placedVoice2 } },
  pause: { happens: async ({ world, workspace }) => { await world.record(workspace, { status: 'paused' }); }, forbids: null, holds: placed('seo', 'voice') },
  removal: { happens: async ({ world, workspace }) => { await world.record(workspace, { status: 'removed' }); }, forbids: { item: 'seo', atOnce: true }, holds: {} },
} as const satisfies Record<string, Injection>;
export type InjectionName = keyof typeof injections;

export interface InjectRun {
  readonly boots: number;
  readonly faults: readonly string[];
  /** The event had to wait for a lock of the frozen transaction. */
  readonly waited: boolean;
}

async function isWaiting(world: DeliveryWorld): Promise<boolean> {
  const { rows } = await world.database.raw<{ rows: unknown[] }>(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and application_name = 'waybill'`,
  );
  return rows.length > 0;
}

/**
 * A boot with template and plugin whose worker is held still at a step, shorter than its lease, while something happens to
 * the workspace; then it goes on. What it may still do is decided at its next look at the truth (A8, C7, C13).
 */
export async function injectAt(
  world: DeliveryWorld, injection: Injection, step: string, nth: number, options: { root?: string | undefined; onVolume?: (volume: string) => void } = {},
): Promise<InjectRun> {
  const one = await openCase(world);
  options.onVolume?.(world.volume(one.workspace));
  const role = startRole(world, { fault: { step, nth, signal: 'SIGSTOP' }, root: options.root });
  const faults: string[] = [];
  let boots = 0;
  const tryBoot = async (when: string): Promise<void> => {
    const wrong = await boot(one);
    if (wrong === undefined) return;
    boots += 1;
    faults.push(...wrong.map((what) => `boot ${when}: ${what}`));
  };
  try {
    await world.record(one.workspace, { template: 'seo', plugins: ['voice'] });
    await role.stopped();
    const happens = { isOver: false };
    const happening = injection.happens(one).finally(() => { happens.isOver = true; });
    let waited = false;
    const deadline = Date.now() + 10_000;
    while (!happens.isOver && !(waited = await isWaiting(world)) && Date.now() < deadline) await delay(2);
    role.signal('SIGCONT');
    await happening;
    // What was announced before it happened may stay until the next boot (revocation table).
    const wasReady = (await world.said(one.workspace)).some(({ type, body }) => type === 'AssetsReady' && body['generation'] === 1);
    // A catalogue write leaves its fan-out to whoever is next; the role does that too.
    await untilRest(one, role);
    for (let more = true; more;) {
      await world.settle();
      await untilRest(one, role);
      more = (await world.database.raw<{ rows: unknown[] }>('select from fanouts where done_at is null')).rows.length > 0;
    }
    await tryBoot('at rest');
    const { forbids } = injection;
    if (forbids !== null && (forbids.atOnce || !wasReady)) {
      faults.push(...(await plaintextOf(one, forbids.item, [role.said()])).map((place) => `plaintext at rest in ${place}`));
    }
    // From here on one after the other, in this process.
    await role.kill();
    if (injection !== injections.removal) {
      await world.record(one.workspace, { status: 'online' });
      await world.settle();
      await world.record(one.workspace, { boot: true });
      await world.settle();
      await tryBoot('after the next boot');
    }
    const found = world.files(one.workspace);
    for (const path of new Set([...Object.keys(found), ...Object.keys(injection.holds)])) {
      if (found[path] !== injection.holds[path]) faults.push(`after the next boot ${path} is ${found[path] === undefined ? 'missing' : 'not what is wanted'}`);
    }
    world.org = one.org;
    await world.record(one.workspace, { status: 'removed' });
    await world.settle();
    if (injection === injections['channel move']) {
      await moveVoice(world, '1.0.0');
      await world.settle();
    }
    return { boots, faults, waited };
  } finally {
    await role.kill();
  }
}
