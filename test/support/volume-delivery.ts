import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openVolume } from '../../adapters/volume/open-directory.ts';
import { volumeOperations, type VolumeOperations } from '../../adapters/volume/operations.ts';
import { planApply } from '../../delivery/volume/plan-apply.ts';
import type { Directory, VolumeStep } from '../../delivery/volume/directory.ts';
import type { Applied, AsideRecord, DigestsByPath, Fenced, KeptFile, ProbedFile, StagedFile, WantedFile } from '../../delivery/volume/volume-work.ts';
import { parseSha256, type Sha256 } from '../../schemas/ids.ts';

/**
 * Called before each step, of the file work and of the delivery around it (`start`, `permit`, `finish`), and, where
 * `everyCall` is set, before each call to an opened directory: `call`, with the method and the name it is about.
 */
export type OnStep = (name: VolumeStep | 'start' | 'permit' | 'finish' | 'call', detail: string) => void;

const noStep: OnStep = () => {};

/** A folder of one test file for its volumes, removed by `removeVolumes`. In memory where the machine has that. */
export function volumesFolder(): string {
  const memory = '/dev/shm';
  return fs.mkdtempSync(path.join(fs.existsSync(memory) ? memory : os.tmpdir(), 'waybill-volumes-'));
}

export function digest(bytes: Uint8Array | string): Sha256 {
  return parseSha256(createHash('sha256').update(bytes).digest('hex'));
}

/** A file to deliver; a path that ends in `*` is executable. */
export function file(name: string, content: string): StagedFile & WantedFile {
  const bytes = new TextEncoder().encode(content);
  return { path: name.replace(/\*$/u, ''), bytes, sha256: digest(bytes), size: bytes.length, executable: name.endsWith('*') };
}

export function files(contents: Readonly<Record<string, string>>): (StagedFile & WantedFile)[] {
  return Object.entries(contents).map(([name, content]) => file(name, content));
}

export function operations(onStep: OnStep = noStep, entryBytesMax = 1 << 20, everyCall = false): VolumeOperations {
  const open = everyCall ? (volume: string): Directory => announcing(openVolume(volume), onStep) : openVolume;
  return volumeOperations({ openVolume: open, entryBytesMax, step: onStep });
}

const announced = new WeakMap<object, Directory>();

/** The same directory, which announces each call before it is made: between two calls of the system lies always one. */
function announcing(directory: Directory, onStep: OnStep): Directory {
  const proxy = new Proxy(directory, {
    get(target, key) {
      const method: unknown = Reflect.get(target, key);
      if (typeof method !== 'function' || typeof key === 'symbol') return typeof method === 'function' ? () => Reflect.apply(method, target, []) as unknown : method;
      return (...given: (string | object)[]): unknown => {
        onStep('call', typeof given[0] === 'string' ? `${key} ${given[0]}` : key);
        const result: unknown = Reflect.apply(method, target, given.map((one) => (typeof one === 'object' ? (announced.get(one) ?? one) : one)));
        return key === 'open' && typeof result === 'object' ? announcing(result as Directory, onStep) : result; // what open returns
      };
    },
  });
  announced.set(proxy, directory);
  return proxy;
}

/** What the database holds of one workspace: the part of the delivery worker that the file work relies on, in memory. */
export interface Workspace {
  readonly volume: string;
  /** The attempt that was claimed last, from a sequence; *permit* and *finish* are refused to every other. */
  claimed: number;
  receipts: DigestsByPath;
  directories: readonly string[];
  readonly asides: Map<number, AsideRecord>;
}

export function newWorkspace(volume: string): Workspace {
  fs.mkdirSync(volume, { recursive: true });
  return { volume, claimed: 0, receipts: new Map(), directories: [], asides: new Map() };
}

export interface Delivery {
  readonly fenced: Fenced;
  readonly applied: Applied;
  readonly probed: ProbedFile[];
  /** Paths whose bytes had to be fetched. */
  readonly fetched: readonly string[];
  readonly kept: readonly KeptFile[];
}

export interface DeliveryOptions {
  readonly known?: DigestsByPath;
  readonly denied?: readonly string[];
  /** Digests that stay allowed beside the wanted ones; without it nothing else may be held. */
  readonly mayHold?: readonly Sha256[];
  readonly onStep?: OnStep;
  readonly everyCall?: boolean;
  /** As a permit of a box that runs out there. */
  readonly notAfter?: bigint;
}

/** One whole attempt, as the worker does it. Null when it was superseded. */
export function deliver(workspace: Workspace, wanted: readonly (StagedFile & WantedFile)[], options: DeliveryOptions = {}): Delivery | null {
  const { volume } = workspace;
  const onStep = options.onStep ?? noStep;
  const known = options.known ?? new Map<string, Sha256[]>();
  const work = operations(onStep, 1 << 20, options.everyCall);
  const { highestAttempt } = work.inspect({ volume });
  const attempt = Math.max(workspace.claimed, highestAttempt) + 1;
  workspace.claimed = attempt;
  const { receipts, directories } = workspace;
  onStep('start', String(attempt));

  const fenced = work.fence({ volume, attempt, asides: [...workspace.asides.values()] });
  if (fenced.kind === 'superseded') return null;
  const surveyed = work.survey({ volume, wanted, receipts, known, directories, denied: options.denied });
  const needed = new Set(surveyed.wanted.filter(({ state }) => state === 'absent' || state === 'ours').map((one) => one.path));
  const fetched = wanted.filter((one) => needed.has(one.path));
  if (work.build({ volume, attempt, files: fetched }).kind === 'superseded') return null;

  const record = planApply({ attempt, wanted, receipts, known, survey: surveyed, directories, denied: options.denied ?? [] });
  onStep('permit', String(attempt));
  if (workspace.claimed !== attempt) return refused(work, volume, attempt);
  workspace.asides.set(attempt, record);
  workspace.receipts = new Map(record.entries.map((entry) => [entry.path, entry.ours]));
  workspace.directories = [...new Set([...record.directories, ...record.making])];

  const applied = work.apply({ volume, attempt, record, wanted, notAfter: options.notAfter });
  if (applied.kind === 'superseded') return null;
  const probed = work.probe({ volume, files: wanted });
  onStep('finish', String(attempt));
  if (workspace.claimed !== attempt) return null;
  workspace.receipts = new Map(wanted.map((one) => [one.path, [one.sha256]]));
  workspace.directories = applied.directories;
  work.settle({ volume, attempt, record, mayHold: [...wanted.map((one) => one.sha256), ...(options.mayHold ?? [])] });
  return { fenced, applied, probed, fetched: fetched.map((one) => one.path), kept: [...fenced.kept, ...applied.kept] };
}

function refused(work: VolumeOperations, volume: string, attempt: number): null {
  work.settle({ volume, attempt, record: null, mayHold: [] });
  return null;
}

/** Everything a boot could see: path → kind, mode and bytes. Without `.waybill`. */
export function visible(volume: string): Record<string, string> {
  return listing(volume, (name) => name !== '.waybill');
}

/** What lies in kept/, by name. */
export function keptFiles(volume: string): Record<string, string> {
  const kept = path.join(volume, '.waybill/kept');
  return fs.existsSync(kept) ? listing(kept, () => true) : {};
}

/** The folders of attempts that stand, and all in them. */
export function attemptFolders(volume: string): string[] {
  return Object.keys(listing(path.join(volume, '.waybill/attempts'), () => true));
}

export function listing(root: string, take: (name: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (folder: string, prefix: string): void => {
    for (const name of fs.readdirSync(folder).toSorted()) {
      if (prefix === '' && !take(name)) continue;
      const full = path.join(folder, name);
      const stat = fs.lstatSync(full);
      const mode = (stat.mode & 0o7777).toString(8);
      if (stat.isDirectory()) {
        found[`${prefix}${name}/`] = mode;
        walk(full, `${prefix}${name}/`);
      } else if (stat.isFile()) found[`${prefix}${name}`] = `${mode} ${fs.readFileSync(full, 'utf8')}`;
      else found[`${prefix}${name}`] = stat.isSymbolicLink() ? `link ${fs.readlinkSync(full)}` : 'special';
    }
  };
  walk(root, '');
  return found;
}

/** Writes a user's file below the volume, with the folders it needs. */
export function userWrites(volume: string, name: string, content: string): void {
  fs.mkdirSync(path.dirname(path.join(volume, name)), { recursive: true });
  fs.writeFileSync(path.join(volume, name), content);
}
