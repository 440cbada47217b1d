import fs from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { asFailure } from '../../process/failure.ts';
import { attemptFolders, deliver, files, keptFiles, listing, newWorkspace, userWrites, visible, volumesFolder, type DeliveryOptions, type OnStep, type Workspace } from '../support/volume-delivery.ts';

/**
 * One delivery from set `before` to set `after` beside files of the user, disturbed at every step that it takes: killed,
 * frozen while a successor finishes, edited by the user, attacked by a tenant. In one process, through the step hook:
 * everything between two steps is synchronous, so what happens in the hook happens between two calls of the system.
 */
vi.setConfig({ testTimeout: 60_000 }); // about a second each when the machine is quiet
const volumes = volumesFolder();
afterAll(() => fs.rmSync(volumes, { recursive: true }));

const before = files({
  'configs/system-prompt.md': 'prompt 1', 'configs/keep.md': 'kept as it is', 'configs/old/gone.md': 'goes', 'configs/edited.md': 'template 1',
  'plugins/p/rules.md': 'rules 1', turns: 'file that becomes a folder',
});
const after = files({
  'configs/system-prompt.md': 'prompt 2', 'configs/keep.md': 'kept as it is', 'configs/new/deep/added.md': 'added', 'configs/edited.md': 'template 2',
  'plugins/p/rules.md*': 'rules 2', 'turns/into': 'a folder',
});
const third = files({ 'configs/system-prompt.md': 'prompt 3', 'configs/new/other.md': 'other', 'plugins/p/rules.md': 'rules 1' });
const old = before.map((one) => one.sha256);

let serial = 0;
/** A workspace that holds `before`, with files of the user beside it. */
function prepared(): Workspace {
  serial += 1;
  const workspace = newWorkspace(path.join(volumes, String(serial)));
  deliver(workspace, before);
  userWrites(workspace.volume, 'configs/edited.md', 'edited by the user');
  userWrites(workspace.volume, 'configs/MEMORY.md', 'memory');
  userWrites(workspace.volume, 'mine/notes.md', 'notes');
  return workspace;
}

interface Step {
  readonly name: Parameters<OnStep>[0];
  readonly detail: string;
}

/** The steps of an undisturbed delivery of `after`, and what it leaves. */
function undisturbed(options: DeliveryOptions = { everyCall: true }): { steps: Step[]; result: Record<string, string> } {
  const workspace = prepared();
  const steps: Step[] = [];
  deliver(workspace, after, { ...options, onStep: (name, detail) => steps.push({ name, detail }) });
  return { steps, result: visible(workspace.volume) };
}

/** Runs `act` when the step of this number is reached, once. */
function atStep(number: number, act: () => void): OnStep {
  let count = -1;
  return () => {
    count += 1;
    if (count === number) act();
  };
}

const reference = undisturbed();
class Killed extends Error {}
const kill = (): never => {
  throw new Killed();
};

function deliverUntilKilled(workspace: Workspace, number: number): void {
  try {
    deliver(workspace, after, { everyCall: true, onStep: atStep(number, kill) });
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  }
}

describe('an attempt killed at any step (I8)', () => {
  test('leaves nothing that its successor does not bring to the same state, byte for byte', () => {
    expect(reference.steps.length).toBeGreaterThan(300);
    for (const [number, step] of reference.steps.entries()) {
      if (step.name === 'call' && number % 4 !== 1) continue;
      const workspace = prepared();
      deliverUntilKilled(workspace, number);
      const successor = deliver(workspace, after);
      const what = `killed before step ${number}, ${step.name} ${step.detail}`;
      expect(visible(workspace.volume), what).toEqual(reference.result);
      expect(keptFiles(workspace.volume), what).toEqual({});
      expect(successor?.probed.filter((probed) => probed.state !== 'ok').map((probed) => probed.path), what).toEqual(['configs/edited.md']);
      expect(attemptFolders(workspace.volume), what).toEqual([]);
      fs.rmSync(workspace.volume, { recursive: true });
    }
  });

  test('or by its successor killed at any step too', () => {
    for (let pair = 0; pair < 40; pair += 1) {
      const [first, second] = [(pair * 37) % reference.steps.length, (pair * 53 + 11) % reference.steps.length];
      const workspace = prepared();
      deliverUntilKilled(workspace, first);
      deliverUntilKilled(workspace, second);
      deliver(workspace, after);
      expect(visible(workspace.volume), `killed before steps ${first} and ${second}`).toEqual(reference.result);
      expect(keptFiles(workspace.volume)).toEqual({});
      fs.rmSync(workspace.volume, { recursive: true });
    }
  });

  test('and a delivery that turns back to the first set restores it', () => {
    for (const [number, step] of reference.steps.entries()) {
      if (number % 10 !== 0) continue;
      const workspace = prepared();
      const start = visible(workspace.volume);
      deliverUntilKilled(workspace, number);
      deliver(workspace, before);
      expect(visible(workspace.volume), `killed before step ${number}, ${step.name} ${step.detail}`).toEqual(start);
      fs.rmSync(workspace.volume, { recursive: true });
    }
  });
});

test('an attempt frozen at any step makes nothing visible once its successor has finished (I24)', () => {
  const start = reference.steps.findIndex((step) => step.name === 'start');
  for (const [number, step] of reference.steps.entries()) {
    if (number < start || (step.name === 'call' && number % 4 !== 2)) continue; // not an attempt yet; of the calls between steps every fourth
    const workspace = prepared();
    let finished: { tree: unknown; kept: unknown; receipts: unknown } | undefined;
    const state = () => ({ tree: visible(workspace.volume), kept: keptFiles(workspace.volume), receipts: workspace.receipts });
    deliver(workspace, after, {
      everyCall: true,
      onStep: atStep(number, () => {
        deliver(workspace, third);
        finished = structuredClone(state());
      }),
    });
    expect(finished).toBeDefined();
    expect(state(), `frozen before step ${number}, ${step.name} ${step.detail}`).toEqual(finished);
    const again = deliver(workspace, third);
    expect(again?.applied.unchanged, `frozen before step ${number}`).toHaveLength(third.length);
    expect(attemptFolders(workspace.volume)).toEqual([]);
    fs.rmSync(workspace.volume, { recursive: true });
  }
});

/** A delivery that may end with a refusal of this one volume, and with nothing else. */
function deliverWhatever(workspace: Workspace, options: DeliveryOptions): void {
  try {
    deliver(workspace, after, options);
  } catch (error) {
    expect(asFailure(error)).toMatchObject({ kind: 'subject' });
  }
}

function isFolder(name: string): boolean {
  return fs.lstatSync(name, { throwIfNoEntry: false })?.isDirectory() === true;
}

describe('an edit of the user at any step is never lost (I8)', () => {
  const token = 'TOKEN OF THE USER';
  const edits: Record<string, (name: string, handle: number | null) => void> = {
    'in place': (name) => fs.writeFileSync(name, token),
    'by renaming another file over it': (name) => {
      fs.writeFileSync(`${name}.tmp`, token);
      fs.renameSync(`${name}.tmp`, name);
    },
    'by deleting and creating': (name) => {
      fs.rmSync(name, { force: true });
      fs.writeFileSync(name, token);
    },
    'by putting a folder there': (name) => {
      fs.rmSync(name, { force: true });
      fs.mkdirSync(name);
      fs.writeFileSync(path.join(name, 'inside'), token);
    },
    'by putting a link there': (name) => {
      fs.rmSync(name, { force: true });
      fs.symlinkSync(token, name);
    },
    'through a handle opened before': (_, handle) => {
      if (handle !== null) fs.writeSync(handle, token, 0);
    },
  };

  test.each(Object.entries(edits))('%s', (how, edit) => {
    // What only a handle can do, write to a copy between the last look at it and its deletion, is the known window.
    const throughHandle = how === 'through a handle opened before';
    const inWindow = ({ name }: Step): boolean => throughHandle && ['settle:delete-aside', 'fence:delete-aside'].includes(name);
    const options: DeliveryOptions = { mayHold: old, everyCall: !throughHandle };
    const { steps } = undisturbed(options);
    const paths = [...new Set([...before, ...after].map((one) => one.path))];
    let made = 0;
    let named = paths[0] ?? '';
    for (const [number, step] of steps.entries()) {
      named = paths.find((one) => one === step.detail) ?? named;
      if (inWindow(step) || step.name === 'walk:open' || (step.name === 'call' && number % 12 !== how.length % 12)) continue;
      const workspace = prepared();
      const target = path.join(workspace.volume, named);
      const handle = fs.existsSync(target) ? fs.openSync(target, 'r+') : null;
      let edited = false;
      const act = (): void => {
        edited = isFolder(path.dirname(target)) && !isFolder(target) && !(throughHandle && handle === null);
        if (edited) edit(target, handle);
      };
      deliverWhatever(workspace, { ...options, onStep: atStep(number, act) });
      const what = `${named} edited before step ${number}, ${step.name} ${step.detail}`;
      for (const next of edited ? [third, []] : []) {
        deliver(workspace, next);
        expect(JSON.stringify([visible(workspace.volume), keptFiles(workspace.volume)]), what).toContain(token);
      }
      if (edited) made += 1;
      if (handle !== null) fs.closeSync(handle);
      fs.rmSync(workspace.volume, { recursive: true });
    }
    expect(made).toBeGreaterThan(30);
  });

  test('and a file that the user deletes at any step is delivered by the next attempt at the latest (C8)', () => {
    for (const [number, step] of reference.steps.entries()) {
      if (number % 10 !== 1) continue;
      const workspace = prepared();
      deliver(workspace, after, { everyCall: true, onStep: atStep(number, () => fs.rmSync(path.join(workspace.volume, 'configs'), { recursive: true })) });
      const next = deliver(workspace, after);
      expect(next?.probed.every((probed) => probed.state === 'ok'), `deleted before step ${number}, ${step.name} ${step.detail}`).toBe(true);
      fs.rmSync(workspace.volume, { recursive: true });
    }
  });
});

describe('a tenant who swaps folders for links at any step', () => {
  const swapped = ['configs', 'plugins/p', 'turns', '.waybill', '.waybill/attempts', '.waybill/attempts/2', '.waybill/attempts/2/tree', '.waybill/attempts/2/aside', '.waybill/kept', 'configs/old', 'configs/new'];

  test.each([['and leaves the link', false], ['and swaps back at the next step', true]])('%s gets nothing written outside the volume', (_, backAgain) => {
    const outside = path.join(volumes, `outside-${String(backAgain)}`);
    for (const name of ['system-prompt.md', 'gone.md', 'rules.md', 'keep.md', 'p/rules.md', 'old/gone.md', 'attempts/1/x', 'aside/x', 'tree/x', 'kept/x', '2/tree/x', '1/tree/x']) userWrites(outside, name, 'outside');
    for (const one of before) userWrites(outside, one.path, one.path === 'configs/keep.md' ? 'outside' : new TextDecoder().decode(one.bytes));
    const untouched = listing(outside, () => true);
    const times = fs.statSync(outside, { bigint: true }).ctimeNs;

    for (const [number, step] of reference.steps.entries()) {
      // Every folder right before it is opened, and some folder before every eighth other step.
      if (step.name !== 'walk:open' && number % 8 !== (backAgain ? 0 : 4)) continue;
      const workspace = prepared();
      const folder = step.name === 'walk:open' ? step.detail : swapped[(number >> 3) % swapped.length];
      const target = path.join(workspace.volume, folder ?? '');
      const swap = (): void => {
        if (!isFolder(target)) return;
        fs.renameSync(target, `${target}.moved`);
        fs.symlinkSync(outside, target);
      };
      const restore = (): void => {
        if (fs.lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return;
        fs.unlinkSync(target);
        fs.renameSync(`${target}.moved`, target);
      };
      let count = -1;
      deliverWhatever(workspace, {
        everyCall: true,
        onStep: () => {
          count += 1;
          if (count === number) swap();
          if (backAgain && count === number + 1) restore();
        },
      });
      expect(fs.statSync(outside, { bigint: true }).ctimeNs, `${target} swapped before step ${number}`).toBe(times);
      restore();
      deliver(workspace, after);
      fs.rmSync(workspace.volume, { recursive: true });
    }
    expect(listing(outside, () => true)).toEqual(untouched);
  });
});

test('the sets of this file cover what a delivery can meet', () => {
  const names = new Set(reference.steps.map((step) => step.name));
  for (const name of ['apply:aside', 'apply:link', 'apply:rename-directory', 'apply:remove-directory', 'settle:delete-aside', 'build:verify', 'probe:read']) expect(names).toContain(name);
});
