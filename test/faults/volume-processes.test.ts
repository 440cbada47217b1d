import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createVolumeWork } from '../../adapters/volume/create-volume-work.ts';
import { planApply } from '../../delivery/volume/plan-apply.ts';
import { deliver, digest, file, files, keptFiles, newWorkspace, operations, visible, volumesFolder } from '../support/volume-delivery.ts';
import { firstSet, readState, secondSet } from '../support/volume-child.ts';

vi.setConfig({ testTimeout: 60_000 }); // a second or two when the machine is quiet
const volumes = volumesFolder();
fs.chmodSync(volumes, 0o755);
let volume: string;
beforeEach(() => {
  volume = fs.mkdtempSync(path.join(volumes, 'v-'));
});
afterAll(() => fs.rmSync(volumes, { recursive: true }));

const child = path.resolve(import.meta.dirname, '../support/volume-child.ts');
const asRoot = process.geteuid?.() === 0;
const nobody = 65_534;

/** The kernel says T for a stopped process; asked until it does, for at most ten seconds. */
async function stopped(pid: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    if (/\) T /u.test(stat)) return;
    if (Date.now() > deadline) throw new Error(`process ${pid} did not stop: ${stat}`);
    await delay(5);
  }
}

describe('a process of its own', () => {
  const steps = ['fence:make-tree', 'build:write', 'permit', 'apply:judge-aside', 'apply:link', 'apply:rename-directory', 'finish', 'settle:rmdir-tree'];

  test.each(steps)('killed with SIGKILL before %s leaves what its successor brings to the wanted state (I8)', async (step) => {
    const state = `${volume}.json`;
    const killed = promisify(execFile)(process.execPath, [child, volume, state, step, 'SIGKILL']);
    await expect(killed).rejects.toMatchObject({ signal: 'SIGKILL' });
    const workspace = readState(state, volume);
    deliver(workspace, secondSet);
    expect(visible(volume)).toEqual({
      'configs/': '755', 'configs/keep.md': '644 same', 'configs/new/': '755', 'configs/new/added.md': '644 added', 'configs/system-prompt.md': '644 prompt 2',
    });
    expect(keptFiles(volume)).toEqual({});
  });

  test.each(['build:write', 'apply:aside', 'apply:link', 'apply:rename-directory'])('frozen with SIGSTOP before %s and woken after its successor finished makes nothing visible (I24)', async (step) => {
    const state = `${volume}.json`;
    const frozen = spawn(process.execPath, [child, volume, state, step, 'SIGSTOP'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    frozen.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    try {
      await stopped(frozen.pid ?? 0);
      deliver(readState(state, volume), firstSet);
      const finished = visible(volume);
      frozen.kill('SIGCONT');
      await once(frozen, 'close');
      expect(said).toBe('superseded');
      expect(visible(volume)).toEqual(finished);
    } finally {
      frozen.kill('SIGKILL');
    }
  });
});

describe('a volume that refuses', () => {
  test('is full: VOLUME_FULL, and delivered once there is room', ({ skip }) => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,nr_inodes=60', 'tmpfs', volume], { stdio: 'pipe' });
    } catch (error) {
      skip(`no small file system can be mounted here: ${String(error).split('\n')[1] ?? ''}`);
    }
    try {
      const workspace = newWorkspace(volume);
      fs.writeFileSync(path.join(volume, 'ballast'), Buffer.alloc(128 << 10));
      const large = [file('a', 'x'.repeat(64 << 10)), file('b', 'y'.repeat(96 << 10))];
      const full: unknown = expect.objectContaining({ kind: 'subject', code: 'VOLUME_FULL', message: expect.stringContaining(volume) as string });
      expect(() => deliver(workspace, large)).toThrow(full);
      expect(Object.keys(visible(volume))).toEqual(['ballast']);
      const many = files(Object.fromEntries(Array.from({ length: 80 }, (_, n) => [`f${n}`, `${n}`])));
      expect(() => deliver(workspace, many), 'no inodes').toThrow(full);
      fs.rmSync(path.join(volume, 'ballast'));
      expect(deliver(workspace, large)?.probed.map((one) => one.state)).toEqual(['ok', 'ok']);
    } finally {
      execFileSync('umount', [volume]);
    }
  });

  test('is read-only: VOLUME_UNWRITABLE', ({ skip }) => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', volume], { stdio: 'pipe' });
    } catch {
      skip('nothing can be mounted here');
    }
    try {
      expect(() => operations().inspect({ volume })).toThrow(expect.objectContaining({ kind: 'subject', code: 'VOLUME_UNWRITABLE' }));
    } finally {
      execFileSync('umount', [volume]);
    }
  });

  test('reaches over two file systems: UNSUPPORTED_VOLUME', ({ skip }) => {
    const inner = path.join(volume, 'configs');
    fs.mkdirSync(inner);
    try {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', inner], { stdio: 'pipe' });
    } catch {
      skip('nothing can be mounted here');
    }
    try {
      expect(() => deliver(newWorkspace(volume), firstSet)).toThrow(expect.objectContaining({ kind: 'subject', code: 'UNSUPPORTED_VOLUME' }));
    } finally {
      execFileSync('umount', [inner]);
    }
  });

  test.each([
    ['the root of somebody else', ''],
    ['a folder of somebody else', 'configs'],
  ])('an unprivileged user with %s: VOLUME_UNWRITABLE', (_, folder) => {
    if (asRoot) fs.chownSync(volume, nobody, nobody);
    fs.mkdirSync(path.join(volume, folder), { recursive: true });
    fs.chmodSync(path.join(volume, folder), 0o555);
    if (asRoot && folder === '') fs.chownSync(volume, 0, 0);
    const workspace = newWorkspace(volume);
    // The user changes once everything is loaded: a checkout may lie where only root can read.
    if (asRoot) process.seteuid?.(nobody);
    try {
      expect(() => deliver(workspace, firstSet)).toThrow(expect.objectContaining({ kind: 'subject', code: 'VOLUME_UNWRITABLE' }));
    } finally {
      if (asRoot) process.seteuid?.(0);
    }
  });

  test('an unprivileged user on a volume of their own: delivered as theirs', () => {
    if (asRoot) fs.chownSync(volume, nobody, nobody);
    const workspace = newWorkspace(volume);
    if (asRoot) process.seteuid?.(nobody);
    try {
      deliver(workspace, firstSet);
      expect(deliver(workspace, secondSet)?.probed.every((probed) => probed.state === 'ok')).toBe(true);
    } finally {
      if (asRoot) process.seteuid?.(0);
    }
    expect(fs.statSync(path.join(volume, 'configs/keep.md')).uid).toBe(asRoot ? nobody : process.geteuid?.());
  });
});

describe('the pool of threads', () => {
  const set = files({ 'configs/a': 'a', 'configs/b': 'b' });

  test('does the work of an attempt off the main thread, several volumes at once', async () => {
    const work = createVolumeWork({ threads: 2, entryBytesMax: 1 << 20 });
    const inspected = await Promise.all(Array.from({ length: 6 }, async (_, n) => {
      const other = path.join(volume, String(n));
      fs.mkdirSync(other);
      await work.inspect({ volume: other });
      await work.fence({ volume: other, attempt: 1, asides: [] });
      return await work.build({ volume: other, attempt: 1, files: set });
    }));
    expect(inspected).toEqual(Array.from({ length: 6 }, () => ({ kind: 'built', files: 2, bytes: 2 })));
    await work.close();
  });

  test('hands back failures with kind and code, and results that are no failures', async () => {
    const work = createVolumeWork({ threads: 1, entryBytesMax: 1 << 20 });
    const gone = path.join(volume, 'nowhere');
    expect(await work.inspect({ volume: gone })).toEqual({ highestAttempt: 0, attempts: [], isGone: true });
    await expect(work.inspect({ volume: path.join(gone, 'unmounted') })).rejects.toMatchObject({ name: 'Failure', kind: 'subject', code: 'VOLUME_UNWRITABLE' });
    await expect(work.fence({ volume: gone, attempt: 1, asides: [] })).rejects.toMatchObject({ kind: 'subject', code: 'VOLUME_UNWRITABLE' });
    await expect(work.inspect({ volume: 'relative' })).rejects.toMatchObject({ kind: 'fault', code: 'FAULT' });
    await work.fence({ volume, attempt: 5, asides: [] });
    expect(await work.fence({ volume, attempt: 4, asides: [] })).toEqual({ kind: 'superseded' });
    const survey = await work.survey({ volume, wanted: set, receipts: new Map([['old', [digest('x')]]]), known: new Map(), directories: [] });
    expect(survey).toMatchObject({ unwanted: [{ path: 'old', state: 'absent' }], directoriesToMake: ['configs'] });
    await work.close();
  });

  test('of two attempts at once, the earlier changes nothing after the fence of the later has returned (I24)', async () => {
    const work = createVolumeWork({ threads: 2, entryBytesMax: 1 << 20 });
    const workspace = newWorkspace(volume);
    let cutOff = 0;
    for (let round = 1; round <= 20; round += 1) {
      const wanted = files(Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`d${n % 5}/f${n}`, `${round} ${n}`])));
      const attempt = 2 * round;
      const { receipts, directories } = workspace;
      const known = new Map<string, never>();
      await work.fence({ volume, attempt, asides: [...workspace.asides.values()] });
      const survey = await work.survey({ volume, wanted, receipts, known, directories });
      await work.build({ volume, attempt, files: wanted });
      const record = planApply({ attempt, wanted, receipts, known, survey, directories, denied: [] });
      workspace.asides.clear();
      workspace.asides.set(attempt, record);
      workspace.receipts = new Map(record.entries.map((entry) => [entry.path, entry.ours]));
      workspace.directories = [...new Set([...record.directories, ...record.making])];

      const applying = work.apply({ volume, attempt, record, wanted });
      await delay(round % 8);
      await work.fence({ volume, attempt: attempt + 1, asides: [...workspace.asides.values()] });
      const fenced = visible(volume);
      const applied = await applying;
      if (applied.kind === 'superseded') cutOff += 1;
      expect(visible(volume), `round ${round}, ${applied.kind}`).toEqual(fenced);
    }
    expect(cutOff).toBeGreaterThan(0);
    await work.close();
    deliver(workspace, []);
    expect(visible(volume)).toEqual({});
  });

  test('lets running calls end when it is closed, and refuses new ones', async () => {
    const work = createVolumeWork({ threads: 1, entryBytesMax: 1 << 20 });
    const running = [work.inspect({ volume }), work.probe({ volume, files: set })];
    const closed = work.close();
    await expect(work.inspect({ volume })).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect(await Promise.all(running)).toHaveLength(2);
    await closed;
    await work.close();
  });
});
