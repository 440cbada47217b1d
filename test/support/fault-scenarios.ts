import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { DeliveryWorld, Files } from './delivery-world.ts';

/** Stands in every file of a sold release, so that its plaintext is found wherever it lies. */
export const canary = (item: string): string => `CANARY-${item}-PLAINTEXT`;

const marked = (item: string, files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([path, text]) => [path, path.endsWith('.yaml') ? `${text}# ${canary(item)}\n` : `${text}${canary(item)}\n`]));
const skill = (name: string, text: string): string => `---\nname: ${name}\ndescription: What it is for.\n---\n${text}\n`;

/** What the scenarios deliver: item → files below its root on the volume. */
export const releases = {
  seo: {
    root: 'configs',
    files: marked('seo', {
      'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.2\n',
      'skills/audit/SKILL.md': skill('audit', 'Look at the pages.'), 'skills/old/SKILL.md': skill('old', 'Goes with the next one.'),
    }),
  },
  'seo-next': {
    root: 'configs',
    files: marked('seo-next', {
      'system-prompt.md': 'You improve search rankings, carefully.\n', 'config.yaml': 'temperature: 0.3\n',
      'skills/audit/SKILL.md': skill('audit', 'Look at the pages twice.'), 'skills/new/SKILL.md': skill('new', 'Came with this one.'),
    }),
  },
  voice: { root: 'plugins/voice', files: marked('voice', { 'rules/voice.md': 'Be brief.\n', 'skills/tone/SKILL.md': skill('tone', 'Kindly.') }) },
} as const satisfies Record<string, { root: string; files: Files }>;
export type ItemName = keyof typeof releases;
export const itemNames = Object.keys(releases) as ItemName[]; // the keys of the table above

/** The files of items at their places on a volume. */
export function placed(...items: readonly string[]): Record<string, string> {
  return Object.fromEntries(itemNames.filter((name) => items.includes(name)).flatMap((name) =>
    Object.entries<string>(releases[name].files).map(([path, text]) => [`${releases[name].root}/${path}`, text])));
}

/** A later release of the plugin, which only some tests publish. */
export const voice2 = { 'rules/voice.md': 'Be briefer.\n', 'skills/tone/SKILL.md': skill('tone', 'Warmly.') } as const;
export const placedVoice2: Record<string, string> = Object.fromEntries(Object.entries(voice2).map(([path, text]) => [`plugins/voice/${path}`, text]));

export const userEdit = { path: 'configs/skills/audit/SKILL.md', text: 'Edited by the user.\n' } as const;
export const userFile = { path: 'configs/notes.md', text: 'Written by the user.\n' } as const;

/** Every content that may stand at a path, whole: anything else that a reader finds is half a file. */
export const wholeContents: readonly string[] = [...itemNames.flatMap((name) => Object.values<string>(releases[name].files)), userEdit.text, userFile.text];
/** Paths that a boot reads. */
export const probedPaths = [...new Set(Object.keys({ ...placed('seo', 'voice'), ...placed('seo-next') }))];

export async function publishReleases(world: DeliveryWorld): Promise<void> {
  await world.publish('seo', '1.0.0', releases.seo.files);
  await world.publish('seo-next', '1.0.0', releases['seo-next'].files);
  await world.publish('voice', '1.0.0', releases.voice.files, { kind: 'plugin' });
  // The fan-outs are done before anybody boots.
  await world.settle();
}

/** A workspace in an org of its own, which has bought everything. */
export interface Case {
  readonly world: DeliveryWorld;
  readonly workspace: string;
  readonly org: string;
}

export async function openCase(world: DeliveryWorld): Promise<Case> {
  world.org = randomUUID();
  for (const item of itemNames) await world.line(item);
  return { world, workspace: randomUUID(), org: world.org };
}

export function userWrites({ world, workspace }: Case, { path, text }: { path: string; text: string }): void {
  const target = join(world.volume(workspace), path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
}

async function boots({ world, workspace }: Case): Promise<void> {
  await world.record(workspace, { template: 'seo', plugins: ['voice'] });
}

async function isOnline(one: Case): Promise<void> {
  await boots(one);
  await one.world.settle();
  await one.world.record(one.workspace, { status: 'online' });
  await one.world.settle();
}

export interface Scenario {
  readonly name: string;
  readonly prepare: (one: Case) => Promise<void>;
  /** One after the other, each once the one before has come to rest. */
  readonly events: readonly ((one: Case) => Promise<void>)[];
  /** Items whose plaintext is nowhere at the end. */
  readonly gone: readonly ItemName[];
  /** At the end, by content; the user's files as they stand. */
  readonly holds: Readonly<Record<string, string>>;
}

export const scenarios = {
  boot: {
    name: 'boot with template and plugin',
    prepare: async () => await Promise.resolve(),
    events: [boots],
    gone: [],
    holds: placed('seo', 'voice'),
  },
  upgrade: {
    name: 'upgrade at boot beside edited files',
    async prepare(one) {
      await isOnline(one);
      userWrites(one, userEdit);
      userWrites(one, userFile);
    },
    events: [async ({ world, workspace }) => { await world.record(workspace, { template: 'seo-next', boot: true }); }],
    gone: [],
    holds: { ...placed('seo-next', 'voice'), [userEdit.path]: userEdit.text, [userFile.path]: userFile.text },
  },
  staged: {
    name: 'online change staged, then restart',
    async prepare(one) {
      await isOnline(one);
      userWrites(one, userFile);
    },
    events: [
      async ({ world, workspace }) => { await world.record(workspace, { template: 'seo-next' }); },
      async ({ world, workspace }) => { await world.record(workspace, { boot: true }); },
    ],
    gone: [],
    holds: { ...placed('seo-next', 'voice'), [userFile.path]: userFile.text },
  },
  refund: {
    name: 'refund, then removal at boot',
    async prepare(one) {
      await isOnline(one);
      userWrites(one, userFile);
    },
    events: [
      async ({ world }) => { await world.line('seo', 'refund'); },
      async ({ world, workspace }) => { await world.record(workspace, { boot: true }); },
    ],
    gone: ['seo'],
    holds: { ...placed('voice'), [userFile.path]: userFile.text },
  },
  malware: {
    name: 'malware, removed while online',
    async prepare(one) {
      await isOnline(one);
      userWrites(one, userEdit);
      userWrites(one, userFile);
    },
    events: [async ({ world }) => { await world.line('seo', 'malware'); }],
    gone: ['seo'],
    holds: { ...placed('voice'), [userFile.path]: userFile.text },
  },
  drift: {
    name: 'a delivered file gone, found while online, mended at the next boot',
    async prepare(one) {
      await isOnline(one);
      rmSync(join(one.world.volume(one.workspace), 'configs/skills/old/SKILL.md'));
    },
    events: [
      // Another generation of the same set: looked at and said again.
      async ({ world, workspace }) => { await world.record(workspace, { plugins: ['voice'] }); },
      async ({ world, workspace }) => { await world.record(workspace, { boot: true }); },
    ],
    gone: [],
    holds: placed('seo', 'voice'),
  },
  discard: {
    name: 'staged change taken back',
    async prepare(one) {
      await isOnline(one);
      await one.world.record(one.workspace, { template: 'seo-next' });
      await one.world.settle();
    },
    events: [
      async ({ world }) => { await world.line('seo-next', 'refund'); },
      async ({ world, workspace }) => { await world.record(workspace, { template: 'seo' }); },
    ],
    gone: ['seo-next'],
    holds: placed('seo', 'voice'),
  },
} as const satisfies Record<string, Scenario>;
export type ScenarioName = keyof typeof scenarios;
