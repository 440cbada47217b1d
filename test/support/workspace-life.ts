import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';

import { askForProbes } from '../../delivery/probing.ts';
import type { WorkspaceStatus } from '../../schemas/generated/events.ts';
import type { DeliveryWorld, Files, RecordChange } from './delivery-world.ts';
import { mortalCalls, type Death } from './dying-worker.ts';

/** Two of each kind, one of them to be bought. */
export const lifeItems: Readonly<Record<string, { kind: 'template' | 'plugin'; access: 'sold' | 'open' }>> = {
  'sold-agent': { kind: 'template', access: 'sold' },
  'open-agent': { kind: 'template', access: 'open' },
  'sold-plugin': { kind: 'plugin', access: 'sold' },
  'open-plugin': { kind: 'plugin', access: 'open' },
};
const itemNames = Object.keys(lifeItems);
const versions = ['1.0.0', '2.0.0'] as const;

/** Some files differ between the versions, some do not; one is a folder in the first and a file in the second. */
function filesOf(item: string, version: string): Files {
  const isFirst = version === '1.0.0';
  if (lifeItems[item]?.kind === 'template') {
    return {
      'system-prompt.md': `${item} ${version}\n`, 'config.yaml': `name: ${item}\n`,
      ...(isFirst ? { 'docs/one/text.md': `${item} in a folder\n` } : { 'docs/one': `${item}, a file\n`, 'docs/two.md': `${item} two\n` }),
    };
  }
  return { 'rules/rule.md': `${item} ${version}\n`, 'same.md': `${item}\n`, ...(isFirst ? { 'a/b.md': `${item} in a folder\n` } : { a: `${item}, a file\n` }) };
}

/** item@version → its files at their paths on a volume. */
export const placedReleases: ReadonlyMap<string, Files> = new Map(itemNames.flatMap((item) => versions.map((version) => {
  const root = lifeItems[item]?.kind === 'template' ? 'configs' : `plugins/${item}`;
  return [`${item}@${version}`, Object.fromEntries(Object.entries(filesOf(item, version)).map(([path, text]) => [`${root}/${path}`, text]))] as const;
})));

const reasons = ['refund', 'non_payment', 'fraud', 'malware', 'operator'] as const;
type Reason = (typeof reasons)[number];

/** Something that happens to a workspace, its org, its user, the catalogue or a worker. `rests`: all that is due is done then. */
export type Step = { readonly rests: boolean } & (
  | { readonly do: 'change'; readonly to: RecordChange }
  | { readonly do: 'go online' | 'probe' }
  | { readonly do: 'trade'; readonly item: string; readonly reason: Reason }
  | { readonly do: 'point'; readonly item: string; readonly version: string }
  | { readonly do: 'decide'; readonly item: string; readonly version: string; readonly status: 'yanked' | 'quarantined' }
  | { readonly do: 'write' | 'unlink'; readonly path: string }
  | { readonly do: 'die'; readonly death: Death }
);

/** Plain objects, as they are printed. */
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record<T>(fields, { noNullPrototype: true });

const rests = fc.boolean();
const item = fc.constantFrom(...itemNames);
const version = fc.constantFrom(...versions);
const path = fc.constantFrom(...new Set([...placedReleases.values()].flatMap((files) => Object.keys(files))), 'configs/notes.md', 'configs/docs');
const change = (to: fc.Arbitrary<RecordChange>): fc.Arbitrary<Step> => record({ do: fc.constant('change' as const), to, rests });

const template = fc.constantFrom('sold-agent', 'open-agent', null, 'no-such-agent');
const plugins = fc.subarray(['open-plugin', 'sold-plugin']);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 14, arbitrary: change(record({ template })) },
  { weight: 8, arbitrary: change(record({ plugins })) },
  { weight: 12, arbitrary: change(record({ boot: fc.constant(true) })) },
  { weight: 4, arbitrary: change(record({ status: fc.constantFrom('paused' as const, 'hibernated' as const, 'failed' as const) })) },
  { weight: 16, arbitrary: record({ do: fc.constant('go online' as const), rests }) },
  { weight: 6, arbitrary: record({ do: fc.constant('probe' as const), rests }) },
  { weight: 15, arbitrary: record({ do: fc.constant('trade' as const), item: fc.constantFrom('sold-agent', 'sold-plugin'), reason: fc.constantFrom(...reasons), rests }) },
  { weight: 5, arbitrary: record({ do: fc.constant('point' as const), item, version, rests }) },
  { weight: 3, arbitrary: record({ do: fc.constant('decide' as const), item, version, status: fc.constantFrom('yanked' as const, 'quarantined' as const), rests }) },
  { weight: 5, arbitrary: record({ do: fc.constantFrom('write' as const, 'unlink' as const), path, rests }) },
  {
    weight: 20,
    arbitrary: record({
      do: fc.constant('die' as const),
      death: fc.oneof(
        record({ when: fc.constantFrom('before' as const, 'after' as const), call: fc.constant('transaction' as const), nth: fc.integer({ min: 1, max: 9 }) }),
        record({ when: fc.constantFrom('before' as const, 'after' as const), call: fc.constantFrom(...mortalCalls) }),
      ),
      rests,
    }),
  },
);

/** Steps of one workspace from its first record on, as often long as short. */
export const history: fc.Arbitrary<Step[]> = fc.tuple(change(record({ template, plugins })), fc.noBias(fc.array(step, { maxLength: 16, size: 'max' })))
  .map(([birth, later]) => [birth, ...later]);

export async function publishLifeItems(world: DeliveryWorld): Promise<void> {
  for (const version of versions) {
    for (const [name, terms] of Object.entries(lifeItems)) await world.publish(name, version, filesOf(name, version), terms);
  }
}

/** One workspace in an org of its own, and what everybody but waybill knows of it. */
export class WorkspaceLife {
  readonly world: DeliveryWorld;
  readonly workspace: string = randomUUID();
  record = { template: null as string | null, plugins: [] as readonly string[], status: 'provisioning' as WorkspaceStatus, epoch: 1, generation: 0 };
  /** Item → the live purchase. */
  readonly bought = new Map<string, string>();
  /** Item → why its last purchase ended. */
  readonly ended = new Map<string, Reason>();
  /** Path → what the user wrote there last and has not deleted. */
  readonly written = new Map<string, string>();
  /** Whatever the user ever wrote. */
  readonly everWritten = new Set<string>();
  readonly #touched = new Set<string>();
  readonly #channels = new Map(itemNames.map((name) => [name, '1.0.0']));
  readonly #statuses = new Map([...placedReleases.keys()].map((release) => [release, 'approved']));
  #count = 0;

  private constructor(world: DeliveryWorld) {
    this.world = world;
  }

  /** Begins with everything approved, the channels at the first releases and nothing bought. */
  static async begin(world: DeliveryWorld): Promise<WorkspaceLife> {
    // The statuses of releases lead one way only.
    await world.database.raw(`update releases set status = 'approved'`);
    await world.database.raw(`update channels set version = '1.0.0'`);
    world.org = randomUUID();
    return new WorkspaceLife(world);
  }

  /** Removed at last, and woken by nothing any more. */
  async end(): Promise<void> {
    await this.#change({ status: 'removed' });
    await this.rest();
  }

  async forget(): Promise<void> {
    for (const table of ['pending', 'workspace_items', 'deliveries']) await this.world.database(table).where({ workspace_id: this.workspace }).delete();
  }

  /** All that is due is done, all waits are over. What is due again and again is left due. */
  async rest(): Promise<void> {
    for (let times = 0; times < 4; times += 1) {
      await this.world.settle();
      if (!(await this.world.wait(this.workspace))) return;
    }
  }

  /** What a release is now, and where the channel `stable` leads. */
  statusOf(release: string): string | undefined {
    return this.#statuses.get(release);
  }

  channelOf(name: string): string | undefined {
    return this.#channels.get(name);
  }

  /** Whether the user has had a hand in what stands at a path. */
  isTouched(at: string): boolean {
    return [...this.#touched].some((other) => other === at || other.startsWith(`${at}/`) || at.startsWith(`${other}/`));
  }

  /** As the control plane's gate has it: the newest word on this boot, unless a later one has taken it back (C11). */
  async isReadySaid(): Promise<boolean> {
    const { epoch, generation } = this.record;
    const last = (await this.world.said(this.workspace))
      .findLast(({ type, body }) => type === 'AssetsReady' || type === 'AssetsRejected' || (type === 'AssetsRevoked' && body['effect'] === 'removed'));
    return last?.type === 'AssetsReady' && last.body['epoch'] === epoch && last.body['generation'] === generation;
  }

  async take(taken: Step): Promise<void> {
    this.#count += 1;
    switch (taken.do) {
      case 'change':
        return await this.#change(taken.to);
      case 'go online':
        await this.rest();
        // Minted only after AssetsReady of this boot (C11).
        return await this.isReadySaid() ? await this.#change({ status: 'online' }) : undefined;
      case 'probe':
        await this.world.database.raw(`update deliveries set probed_at = '-infinity' where workspace_id = ?`, [this.workspace]);
        await askForProbes(this.world.database, 0);
        return;
      case 'trade':
        return await this.#trade(taken.item, taken.reason);
      case 'point':
        if (this.statusOf(`${taken.item}@${taken.version}`) !== 'approved') return undefined;
        this.#channels.set(taken.item, taken.version);
        return await this.world.point(taken.item, taken.version);
      case 'decide': {
        const release = `${taken.item}@${taken.version}`;
        if (this.statusOf(release) === 'quarantined' || this.statusOf(release) === taken.status) return undefined;
        this.#statuses.set(release, taken.status);
        return await this.world.decide(taken.item, taken.version, taken.status);
      }
      case 'write':
        return this.#write(taken.path);
      case 'unlink':
        return this.#unlink(taken.path);
      case 'die':
        await this.world.die(taken.death);
    }
  }

  async #change(to: RecordChange): Promise<void> {
    const { boot = false, ...fields } = to;
    const { epoch, generation, ...before } = this.record;
    this.record = {
      ...before, ...fields, ...(boot && { status: 'provisioning' }), epoch: epoch + (boot ? 1 : 0),
      generation: generation + ('template' in to || 'plugins' in to ? 1 : 0),
    };
    await this.world.record(this.workspace, to);
  }

  async #trade(name: string, reason: Reason): Promise<void> {
    const live = this.bought.get(name);
    if (live !== undefined) {
      this.bought.delete(name);
      this.ended.set(name, reason);
      return await this.world.line(name, reason, live);
    }
    const purchase = `${this.workspace.slice(0, 8)}-${this.#count}`;
    this.bought.set(name, purchase);
    return await this.world.line(name, undefined, purchase);
  }

  #write(at: string): void {
    const target = join(this.world.volume(this.workspace), at);
    const text = `The user's ${this.#count}.\n`;
    try {
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text);
    } catch {
      return; // a folder stands there, or a file where a folder has to be
    }
    this.#touched.add(at);
    this.written.set(at, text);
    this.everWritten.add(text);
  }

  #unlink(at: string): void {
    const target = join(this.world.volume(this.workspace), at);
    if (!existsSync(target)) return;
    rmSync(target, { recursive: true });
    this.#touched.add(at);
    for (const other of this.written.keys()) if (other === at || other.startsWith(`${at}/`)) this.written.delete(other);
  }
}
