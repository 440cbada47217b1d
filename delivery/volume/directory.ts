import type { Sha256 } from '../../schemas/ids.ts';

/**
 * One opened directory of a volume, as the logic of an attempt uses it. Every call takes the *name* of one entry, never
 * a path: what lies two components away is reached by opening the first and asking it. So no component is ever followed
 * that somebody swapped for a symbolic link. Synchronous: it runs off the main thread.
 *
 * Results that an attempt has to expect are values; every other refusal of the system is thrown as it came and becomes a
 * Failure in one place.
 */
export interface Directory extends Disposable {
  /** Names of all entries, sorted; none once it was removed. */
  list(): string[];
  /** Whether it has no entry; cheap however many there are. */
  isEmpty(): boolean;
  /** What an entry is, itself and not what it points to; null when there is none. */
  look(name: string): Entry | null;
  /** A child that is a directory itself, not a link to one. */
  open(name: string): Directory | 'missing' | 'not-a-directory';
  /** Reads and digests a regular file of at most `bytesMax` bytes; never waits for a pipe, never follows a link. */
  digest(name: string, bytesMax: number): FileDigest | 'missing' | 'not-regular' | 'too-large';
  /** Creates a regular file that was not there, mode 0644 or 0755, owned as the volume is. */
  write(name: string, bytes: Uint8Array, how: { executable: boolean }): 'written' | 'exists' | 'missing';
  /** `private`: 0700 and this process's. `delivered`: 0755, owned as the volume is. `missing`: this directory was removed. */
  mkdir(name: string, kind: 'private' | 'delivered'): 'made' | 'exists' | 'missing';
  /** A second name in another directory. `missing`: no such entry, or the target directory was removed. */
  link(name: string, to: Directory, toName: string): 'linked' | 'exists' | 'missing' | 'refused';
  /** Moves; replaces a file or an empty directory of that name. `occupied`: the kinds differ or the target is not empty. */
  rename(name: string, to: Directory, toName: string): 'renamed' | 'missing' | 'occupied';
  unlink(name: string): 'gone' | 'directory';
  rmdir(name: string): 'gone' | 'not-empty' | 'not-a-directory';
  /** Makes the directory 0700 and this process's, through its descriptor. */
  protect(): void;
  /** Waits until the bytes of a regular file are on disk. */
  syncFile(name: string): 'synced' | 'missing';
  /** Waits until its entries are on disk. */
  sync(): void;
  /** Waits until its whole file system is on disk; false when this machine cannot do that in one call. */
  syncVolume(): boolean;
}

export interface Entry {
  readonly kind: 'file' | 'directory' | 'other';
  /** Equal for two names of one file. */
  readonly identity: string;
}

export interface FileDigest {
  readonly sha256: Sha256;
  /** Bytes read. */
  readonly size: number;
  readonly executable: boolean;
  /** All mode bits are those that *write* gives to a file of this kind. */
  readonly plainMode: boolean;
}

/** What an operation on a volume runs with. */
export interface VolumeContext {
  /** Opens the root of a volume by its absolute path. */
  openVolume(volume: string): Directory;
  /** Called before every step with its name and the path or entry it is about: where tests kill, pause and interfere. */
  step(name: VolumeStep, detail: string): void;
  /** No delivered file is larger, in bytes; what is larger is the user's (C14). */
  readonly entryBytesMax: number;
}

/** Every named step, in about the order of an attempt. The step is announced before it is taken. */
export const volumeSteps = [
  'walk:open',
  'inspect:test',
  'fence:make-attempt',
  'fence:make-aside',
  'fence:make-tree',
  'fence:adopt',
  'fence:verify-adopted',
  'fence:judge-aside',
  'fence:delete-aside',
  'fence:unlink',
  'fence:rmdir',
  'fence:check',
  'rescue:link',
  'rescue:unlink',
  'rescue:rename',
  'keep:link',
  'keep:unlink',
  'keep:rename',
  'survey:judge',
  'build:write',
  'build:verify',
  'build:sync',
  'apply:judge',
  'apply:aside',
  'apply:judge-aside',
  'apply:delete-denied',
  'apply:make-directory',
  'apply:rename-directory',
  'apply:link',
  'apply:judge-directory',
  'apply:aside-directory',
  'apply:remove-directory',
  'apply:sync',
  'probe:read',
  'settle:unlink-tree',
  'settle:rmdir-tree',
  'settle:judge-aside',
  'settle:delete-aside',
  'settle:rmdir',
] as const;

export type VolumeStep = (typeof volumeSteps)[number];
