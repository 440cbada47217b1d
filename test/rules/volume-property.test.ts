import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test, vi } from 'vitest';
import { deliver, file, keptFiles, newWorkspace, visible, volumesFolder, type OnStep, type Workspace } from '../support/volume-delivery.ts';

vi.setConfig({ testTimeout: 60_000 }); // a second or two when the machine is quiet
const volumes = volumesFolder();
afterAll(() => fs.rmSync(volumes, { recursive: true }));

/** Few paths, many of them below or beside each other, and few contents: so that everything meets everything. */
const paths = ['a', 'b', 'c', 'c/x', 'c/y', 'd/e', 'd/e/z', 'd/e/w', 'd/f/g', 'd/f/h'];
const pathOf = fc.constantFrom(...paths);

/** A set in which no path lies below another. */
const setOf = fc.dictionary(pathOf, fc.constantFrom('1', '2', '3', '1*', '2*')).map((chosen) =>
  Object.entries(chosen)
    .filter(([name]) => !Object.keys(chosen).some((other) => name.startsWith(`${other}/`)))
    .map(([name, content]) => file(content.endsWith('*') ? `${name}*` : name, `${name} ${content.replace('*', '')}`)));

type UserAction = { readonly kind: 'write' | 'replace' | 'delete' | 'delete-tree' | 'mkdir' | 'link'; readonly name: string };
const actionOf: fc.Arbitrary<UserAction> = fc.record({
  kind: fc.constantFrom('write', 'write', 'replace', 'delete', 'delete-tree', 'mkdir', 'link'),
  name: fc.oneof(pathOf, fc.constantFrom('c/mine', 'd/mine', 'd/e/mine', 'mine/x')),
});

const roundOf = fc.record({
  wanted: setOf,
  actions: fc.array(actionOf, { maxLength: 4 }),
  /** The numbers of the steps before which attempts at this set are killed; then one runs through. */
  kills: fc.array(fc.nat({ max: 150 }), { maxLength: 2 }),
});

/** What the user has on the volume: path → content as `visible` shows it. */
class User {
  readonly files = new Map<string, string>();
  readonly folders = new Set<string>();
  #serial = 0;

  act(volume: string, { kind, name }: UserAction): void {
    const full = path.join(volume, name);
    const stat = this.#stat(full);
    if (kind === 'delete-tree') return this.#forget(volume, name.split('/')[0] ?? name);
    if (kind === 'delete') {
      if (stat !== undefined && !stat.isDirectory()) this.#forget(volume, name);
      return undefined;
    }
    if (stat?.isDirectory() === true || this.#blocked(volume, name)) return undefined;
    this.#makeFolders(volume, name);
    this.#serial += 1;
    const token = `the user's ${this.#serial}`;
    if (kind === 'write' && !stat?.isSymbolicLink()) fs.writeFileSync(full, token);
    else fs.rmSync(full, { force: true });
    if (kind === 'mkdir') {
      fs.mkdirSync(full);
      this.files.delete(name);
      this.folders.add(name);
      return undefined;
    }
    if (kind === 'link') fs.symlinkSync(token, full);
    else if (kind === 'replace' || stat?.isSymbolicLink() === true) fs.writeFileSync(full, token);
    this.files.set(name, token);
    return undefined;
  }

  #stat(full: string): fs.Stats | undefined {
    try {
      return fs.lstatSync(full, { throwIfNoEntry: false });
    } catch {
      return undefined; // below a file
    }
  }

  #blocked(volume: string, name: string): boolean {
    return name.split('/').slice(0, -1).some((_, index, parts) => {
      const stat = this.#stat(path.join(volume, ...parts.slice(0, index + 1)));
      return stat !== undefined && !stat.isDirectory();
    });
  }

  #makeFolders(volume: string, name: string): void {
    const parts = name.split('/').slice(0, -1);
    for (let length = 1; length <= parts.length; length += 1) {
      const folder = parts.slice(0, length).join('/');
      if (fs.existsSync(path.join(volume, folder))) continue;
      fs.mkdirSync(path.join(volume, folder));
      this.folders.add(folder);
    }
  }

  #forget(volume: string, name: string): void {
    if (this.#blocked(volume, name)) return;
    fs.rmSync(path.join(volume, name), { recursive: true, force: true });
    for (const owned of [this.files, this.folders]) {
      for (const one of owned.keys()) if (one === name || one.startsWith(`${name}/`)) owned.delete(one);
    }
  }
}

class Killed extends Error {}

function killAt(number: number): OnStep {
  let count = 0;
  return () => {
    if (count++ === number) throw new Killed();
  };
}

function deliverKilled(workspace: Workspace, wanted: Parameters<typeof deliver>[1], kills: readonly number[]): NonNullable<ReturnType<typeof deliver>> {
  for (const number of kills) {
    try {
      deliver(workspace, wanted, { onStep: killAt(number) });
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
  }
  const delivery = deliver(workspace, wanted);
  if (delivery === null) throw new Error('superseded by nobody');
  return delivery;
}

test('after any sets, edits and kills: what is wanted stands or is a conflict, nothing else of ours does, and all of the user\'s does (C8, I8)', () => {
  let serial = 0;
  fc.assert(fc.property(fc.array(roundOf, { minLength: 1, maxLength: 5 }), (rounds) => {
    const workspace = newWorkspace(path.join(volumes, String(serial++)));
    const user = new User();
    for (const { wanted, actions, kills } of rounds) {
      for (const action of actions) user.act(workspace.volume, action);
      const { probed, applied } = deliverKilled(workspace, wanted, kills);

      const conflicts = new Set(applied.kept.map((kept) => kept.path));
      expect(probed.filter((one) => one.state !== 'ok' && !conflicts.has(one.path))).toEqual([]);
      expect(keptFiles(workspace.volume)).toEqual({});

      const expected = new Map<string, string>();
      for (const one of wanted) {
        if (!conflicts.has(one.path)) expected.set(one.path, `${one.executable ? 755 : 644} ${new TextDecoder().decode(one.bytes)}`);
      }
      for (const [name, token] of user.files) expected.set(name, token);
      const found = Object.entries(visible(workspace.volume));
      const standing = found.filter(([name]) => !name.endsWith('/')).map(([name, content]) => [name, user.files.has(name) ? content.replace(/^(?:\d+|link) /u, '') : content] as const);
      expect(new Map(standing)).toEqual(new Map([...expected].toSorted(([a], [b]) => (a < b ? -1 : 1))));
      const empty = found.filter(([name]) => name.endsWith('/') && !found.some(([other]) => other !== name && other.startsWith(name)));
      expect(empty.map(([name]) => name.slice(0, -1)).filter((name) => !user.folders.has(name))).toEqual([]);
    }
    fs.rmSync(workspace.volume, { recursive: true });
  }), { numRuns: 120 });
});

test('the same set again fetches nothing and changes nothing, whatever the user did', () => {
  let serial = 100_000;
  fc.assert(fc.property(setOf, fc.array(actionOf, { maxLength: 4 }), (wanted, actions) => {
    const workspace = newWorkspace(path.join(volumes, String(serial++)));
    const user = new User();
    deliver(workspace, wanted);
    for (const action of actions) user.act(workspace.volume, action);
    deliver(workspace, wanted);
    const before = visible(workspace.volume);
    const again = deliver(workspace, wanted);
    expect(again?.fetched).toEqual([]);
    expect([again?.applied.written, again?.applied.replaced, again?.applied.removed, again?.applied.directoriesMade, again?.applied.directoriesRemoved].flat()).toEqual([]);
    expect(visible(workspace.volume)).toEqual(before);
    fs.rmSync(workspace.volume, { recursive: true });
  }), { numRuns: 50 });
});
