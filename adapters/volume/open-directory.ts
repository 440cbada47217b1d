import { spawnSync } from 'node:child_process';
import { createHash, hash } from 'node:crypto';
import fs from 'node:fs';
import { isAbsolute } from 'node:path';
import { Failure } from '../../process/failure.ts';
import { parseSha256 } from '../../schemas/ids.ts';
import type { Directory, Entry, FileDigest } from '../../delivery/volume/directory.ts';
import { expecting } from './errno.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
const asDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
const asFile = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
const asNewFile = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

/** Who owns the root of the volume: what is delivered belongs to them, or the agent could not edit it. Null: not root. */
type Owner = { readonly uid: number; readonly gid: number } | null;

/** Bytes of one read while digesting. */
const readBytes = 1 << 20;

/**
 * Opens the root of a volume by its absolute path, whose last component may not be a symbolic link.
 * @throws Failure subject UNSUPPORTED_VOLUME where there is no /proc; else what the system says
 */
export function openVolume(volume: string): Directory {
  if (!isAbsolute(volume)) throw new Error(`${JSON.stringify(volume)} is not the absolute path of a volume`);
  if (!fs.existsSync('/proc/self/fd')) {
    throw new Failure('subject', 'UNSUPPORTED_VOLUME', `the volume ${volume} cannot be walked safely here: /proc/self/fd, which Linux has, is missing`);
  }
  const fd = fs.openSync(volume, asDirectory);
  if (process.geteuid?.() !== 0) return new OpenDirectory(fd, null);
  const { uid, gid } = fs.fstatSync(fd);
  return new OpenDirectory(fd, { uid, gid });
}

/**
 * A directory held open by its descriptor. Node has no openat(2); `/proc/self/fd/<descriptor>/<name>` is one: the kernel
 * goes on from the descriptor, so only the one component after it is looked up, and O_NOFOLLOW guards that one.
 */
class OpenDirectory implements Directory {
  #fd: number;
  readonly #owner: Owner;

  constructor(fd: number, owner: Owner) {
    this.#fd = fd;
    this.#owner = owner;
  }

  list(): string[] {
    const names = expecting({ ENOENT: 'removed' }, () => fs.readdirSync(this.#self(), { encoding: 'buffer' }));
    return typeof names === 'string' ? [] : names.map(nameOf).toSorted();
  }

  isEmpty(): boolean {
    const reading = expecting({ ENOENT: 'removed' }, () => fs.opendirSync(this.#self()));
    if (typeof reading === 'string') return true;
    try {
      return reading.readSync() === null;
    } finally {
      reading.closeSync();
    }
  }

  look(name: string): Entry | null {
    const stat = fs.lstatSync(this.#at(name), { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return null;
    return { kind: kindOf(stat), identity: `${stat.dev}:${stat.ino}` };
  }

  open(name: string): Directory | 'missing' | 'not-a-directory' {
    const fd = expecting({ ENOENT: 'missing', ENOTDIR: 'not-a-directory', ELOOP: 'not-a-directory' }, () => fs.openSync(this.#at(name), asDirectory));
    return typeof fd === 'string' ? fd : new OpenDirectory(fd, this.#owner);
  }

  digest(name: string, bytesMax: number): FileDigest | 'missing' | 'not-regular' | 'too-large' {
    // Looked at before it is opened: opening a device can have effects, whatever the flags.
    const entry = this.look(name);
    if (entry === null) return 'missing';
    if (entry.kind !== 'file') return 'not-regular';
    const fd = expecting({ ENOENT: 'missing', ELOOP: 'not-regular', ENXIO: 'not-regular' }, () => fs.openSync(this.#at(name), asFile));
    if (typeof fd === 'string') return fd;
    try {
      const stat = fs.fstatSync(fd);
      return stat.isFile() ? digestOf(fd, stat, bytesMax) : 'not-regular';
    } finally {
      fs.closeSync(fd);
    }
  }

  write(name: string, bytes: Uint8Array, how: { executable: boolean }): 'written' | 'exists' | 'missing' {
    const fd = expecting({ EEXIST: 'exists', ENOENT: 'missing' }, () => fs.openSync(this.#at(name), asNewFile, 0o600));
    if (typeof fd === 'string') return fd;
    try {
      for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done);
      this.#give(fd);
      // After the change of owner, which clears bits; by descriptor, so the process's umask has no say.
      fs.fchmodSync(fd, how.executable ? 0o755 : 0o644);
      return 'written';
    } finally {
      fs.closeSync(fd);
    }
  }

  mkdir(name: string, kind: 'private' | 'delivered'): 'made' | 'exists' | 'missing' {
    const made = expecting({ EEXIST: 'exists', ENOENT: 'missing' }, () => fs.mkdirSync(this.#at(name), 0o700));
    if (typeof made === 'string') return made;
    if (kind === 'private') return 'made';
    const fd = expecting({ ENOENT: 'missing' }, () => fs.openSync(this.#at(name), asDirectory));
    if (typeof fd === 'string') return fd;
    try {
      this.#give(fd);
      fs.fchmodSync(fd, 0o755);
      return 'made';
    } finally {
      fs.closeSync(fd);
    }
  }

  link(name: string, to: Directory, toName: string): 'linked' | 'exists' | 'missing' | 'refused' {
    // EPERM: a directory, a file of somebody else (protected_hardlinks), or a file system without hard links.
    const refusal = expecting({ ENOENT: 'missing', EEXIST: 'exists', EPERM: 'refused' }, () => fs.linkSync(this.#at(name), own(to).#at(toName)));
    return refusal ?? 'linked';
  }

  rename(name: string, to: Directory, toName: string): 'renamed' | 'missing' | 'occupied' {
    const expected = { ENOENT: 'missing', EEXIST: 'occupied', ENOTEMPTY: 'occupied', ENOTDIR: 'occupied', EISDIR: 'occupied', EBUSY: 'occupied' } as const;
    return expecting(expected, () => fs.renameSync(this.#at(name), own(to).#at(toName))) ?? 'renamed';
  }

  unlink(name: string): 'gone' | 'directory' {
    return expecting({ ENOENT: 'gone', EISDIR: 'directory' }, () => fs.unlinkSync(this.#at(name))) ?? 'gone';
  }

  rmdir(name: string): 'gone' | 'not-empty' | 'not-a-directory' {
    const expected = { ENOENT: 'gone', ENOTEMPTY: 'not-empty', EEXIST: 'not-empty', EBUSY: 'not-empty', ENOTDIR: 'not-a-directory' } as const;
    return expecting(expected, () => fs.rmdirSync(this.#at(name))) ?? 'gone';
  }

  protect(): void {
    const fd = this.#open();
    const { uid, mode } = fs.fstatSync(fd);
    const mine = process.geteuid?.() ?? uid;
    if (uid !== mine) fs.fchownSync(fd, mine, process.getegid?.() ?? 0);
    if ((mode & 0o7777) !== 0o700) fs.fchmodSync(fd, 0o700);
  }

  syncFile(name: string): 'synced' | 'missing' {
    const fd = expecting({ ENOENT: 'missing' }, () => fs.openSync(this.#at(name), asFile));
    if (typeof fd === 'string') return fd;
    try {
      fs.fsyncSync(fd);
      return 'synced';
    } finally {
      fs.closeSync(fd);
    }
  }

  sync(): void {
    fs.fsyncSync(this.#open());
  }

  syncVolume(): boolean {
    // syncfs(2) through coreutils, which gets the directory as its standard input: no path of the volume is looked up.
    const sync = spawnSync('sync', ['-f', '/proc/self/fd/0'], { stdio: [this.#open(), 'ignore', 'ignore'] });
    return sync.status === 0;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  #give(fd: number): void {
    if (this.#owner !== null) fs.fchownSync(fd, this.#owner.uid, this.#owner.gid);
  }

  /** A closed descriptor's number may already be another volume's: using it must fail. */
  #open(): number {
    if (this.#fd < 0) throw new Error('a directory of a volume was used after it was closed');
    return this.#fd;
  }

  #self(): string {
    return `/proc/self/fd/${this.#open()}`;
  }

  #at(name: string): string | Buffer {
    if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new Error(`${JSON.stringify(name)} is not the name of one entry`);
    if (!name.startsWith(undecodable)) return `${this.#self()}/${name}`;
    return Buffer.concat([Buffer.from(`${this.#self()}/`), Buffer.from(name.slice(1), 'latin1')]);
  }
}

function own(directory: Directory): OpenDirectory {
  if (directory instanceof OpenDirectory) return directory;
  throw new Error('a directory of another adapter was passed in');
}

/** Marks a name whose bytes are not UTF-8, kept byte for byte behind it; NUL cannot be part of a real name. */
const undecodable = '\0';

function nameOf(raw: Buffer): string {
  const text = raw.toString('utf8');
  return Buffer.from(text).equals(raw) ? text : undecodable + raw.toString('latin1');
}

function kindOf(stat: fs.BigIntStats): Entry['kind'] {
  if (stat.isFile()) return 'file';
  return stat.isDirectory() ? 'directory' : 'other';
}

function digestOf(fd: number, stat: fs.Stats, bytesMax: number): FileDigest | 'too-large' {
  if (stat.size > bytesMax) return 'too-large';
  const buffer = Buffer.allocUnsafe(Math.min(stat.size + 1, readBytes));
  // Most files fit in and are digested at once: a hash object costs as much as the bytes of a small file [measured].
  let filled = 0;
  let read = -1;
  while (read !== 0 && filled < buffer.length) {
    read = fs.readSync(fd, buffer, filled, buffer.length - filled, null);
    filled += read;
  }
  if (read === 0) return fileDigest(hash('sha256', buffer.subarray(0, filled), 'hex'), filled, stat);
  const rest = createHash('sha256');
  let size = 0;
  for (; filled > 0; filled = fs.readSync(fd, buffer, 0, buffer.length, null)) {
    size += filled;
    if (size > bytesMax) return 'too-large'; // it grows while it is read
    rest.update(buffer.subarray(0, filled));
  }
  return fileDigest(rest.digest('hex'), size, stat);
}

function fileDigest(sha256: string, size: number, stat: fs.Stats): FileDigest {
  const executable = (stat.mode & 0o100) !== 0;
  return { sha256: parseSha256(sha256), size, executable, plainMode: (stat.mode & 0o7777) === (executable ? 0o755 : 0o644) };
}
