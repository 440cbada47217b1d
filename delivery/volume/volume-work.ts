import type { Sha256 } from '../../schemas/ids.ts';

/**
 * The file work of one delivery attempt on the volume of one workspace, as the delivery worker and the agent on the box
 * ask for it. Implemented by adapters/volume/ off the main thread. It knows no database: what has to survive a crash
 * (receipts, the aside record of each attempt) is passed in, and what happened is handed back.
 *
 * Order of calls in one attempt: inspect → fence → survey → build → (planApply, permit) → apply → probe → (finish) →
 * settle. Every path is relative to the volume's root, with `/` between its components, and is checked again here.
 *
 * Errors of every call are a Failure: `subject` UNSUPPORTED_VOLUME, VOLUME_FULL, VOLUME_UNWRITABLE or PATH_REFUSED;
 * `dependency` UNAVAILABLE when this process has no descriptors or threads left; anything else is our `fault`. Being
 * superseded is not an error: it is the result `superseded`, upon which the attempt is dropped without a word (I24).
 */
export interface VolumeWork {
  /** Makes `.waybill/{attempts,kept}`, tests that the volume can do what the fence relies on, names the folders found. */
  inspect(input: InspectInput): Promise<Inspection>;
  /** After it returns no other attempt changes anything any more (I24), and our own empty folder stands. */
  fence(input: FenceInput): Promise<Fenced | Superseded>;
  /** What stands at each path now. Reads only. */
  survey(input: SurveyInput): Promise<Survey>;
  /** Writes and verifies files into our own tree. May be called several times, for instance once a release. */
  build(input: BuildInput): Promise<Built | Superseded>;
  /** Brings the paths of the record to what is wanted. Only after *permit* has stored the record. */
  apply(input: ApplyInput): Promise<Applied | Superseded>;
  /** Reads the files as a boot would (C9, I7). */
  probe(input: ProbeInput): Promise<ProbedFile[]>;
  /** Right after *finish*, and after a refused *permit*: our tree goes, and copies that may no longer be held (I9). */
  settle(input: SettleInput): Promise<Settled>;
  /** Lets running calls end and stops the threads. */
  close(): Promise<void>;
}

/** A later attempt has fenced this one, or its folder is there already. Nothing was made visible since. */
export interface Superseded {
  readonly kind: 'superseded';
}

/** One file of the wanted set. */
export interface WantedFile {
  /** At most 240 bytes of UTF-8 and 16 components; never below `.waybill`. */
  readonly path: string;
  readonly sha256: Sha256;
  /** Length in bytes. */
  readonly size: number;
  /** Mode 0755 instead of 0644. */
  readonly executable: boolean;
}

/** Path → digests that were, or may have been, delivered there. */
export type DigestsByPath = ReadonlyMap<string, readonly Sha256[]>;

/**
 * What an attempt may move aside, stored in its *permit* transaction before *apply* moves anything: the next fence judges
 * what it finds in `aside/` by it. Plain JSON. Made by planApply. Positions are the names in `aside/`, so neither list is
 * ever reordered.
 */
export interface AsideRecord {
  readonly attempt: number;
  readonly entries: readonly AsideEntry[];
  /** Folders that earlier attempts made: only these are ever removed, and only empty. */
  readonly directories: readonly string[];
  /** Folders that this attempt may make. After a crash they count as ours, beside the others. */
  readonly making: readonly string[];
}

export interface AsideEntry {
  readonly path: string;
  /** A regular file at this path with one of these digests is ours; everything else is the user's (C8). */
  readonly ours: readonly Sha256[];
  /** Immediate removal: what is found here is never put back; altered copies go to kept/ (C13). */
  readonly denied: boolean;
}

/** A file of the user that stood in the way. */
export interface KeptFile {
  /** Where it stands or stood; null for what was found in an attempt's folder without a path on record. */
  readonly path: string | null;
  readonly reason: KeptReason;
  /** Its new place, `.waybill/kept/…`; null when it still stands at its path. */
  readonly movedTo: string | null;
}

/**
 * - edited: a regular file that is not one of ours.
 * - not-regular: a symbolic link, socket, device or pipe.
 * - directory: a directory where a file has to be.
 * - parent: a component above it is not a directory, or is a symbolic link.
 * - unexpected: found in the folder of an attempt, where only waybill should write.
 */
export type KeptReason = 'edited' | 'not-regular' | 'directory' | 'parent' | 'unexpected';

export interface InspectInput {
  /** Absolute path of the volume's root on this host. */
  readonly volume: string;
}

export interface Inspection {
  /** Highest folder under `.waybill/attempts`, 0 when there is none: the sequence of attempts is raised above it. */
  readonly highestAttempt: number;
  /** All of them, ascending: the records to load for the fence. */
  readonly attempts: readonly number[];
  /** There is no volume: its root is not there, though the folder that volumes are mounted in is. Nothing was made or tested. */
  readonly isGone: boolean;
}

export interface FenceInput {
  readonly volume: string;
  /** Ours: a positive integer, never used before on this volume. */
  readonly attempt: number;
  /** The records of earlier attempts on this volume; one without a record never got a permit. */
  readonly asides: readonly AsideRecord[];
  /** The staged tree of an earlier attempt that is still wanted, taken over file by file and verified again. */
  readonly adopt?: { readonly attempt: number; readonly files: readonly WantedFile[] } | undefined;
}

export interface Fenced {
  readonly kind: 'fenced';
  /** Paths whose staged file is now in our own tree and has the digest, length and mode asked for. */
  readonly adopted: readonly string[];
  /** The user's files that an earlier attempt had moved away and that stand at their paths again. */
  readonly returned: readonly string[];
  /** The user's files that could not be put back, now in kept/. */
  readonly kept: readonly KeptFile[];
}

export interface SurveyInput {
  readonly volume: string;
  readonly wanted: readonly WantedFile[];
  /** What receipts say we delivered (the union of from and to while an attempt was applying). */
  readonly receipts: DigestsByPath;
  /** Catalogued releases and baselines: files with these digests count as ours too (adopted, C8). */
  readonly known: DigestsByPath;
  /** Folders that we made on this volume. */
  readonly directories: readonly string[];
  /** Paths of an immediate removal (C13): a file there leaves whoever changed it, so it never counts as the user's. */
  readonly denied?: readonly string[] | undefined;
}

/**
 * - same: the wanted file; never said of what is not wanted.
 * - absent: nothing there.
 * - ours: a file that we delivered and that *apply* will replace or remove.
 * - user: the user's; *apply* will keep it and report it.
 */
export type FileState = 'same' | 'absent' | 'ours' | 'user';

export interface SurveyedFile {
  readonly path: string;
  readonly state: FileState;
}

export interface Survey {
  /** One per wanted file, in their order. `absent` and `ours` are the ones whose bytes *build* needs. */
  readonly wanted: readonly SurveyedFile[];
  /** One per path that has receipts and is not wanted; `ours` will be removed. */
  readonly unwanted: readonly SurveyedFile[];
  /** Folders that *apply* will have to make, parents first. */
  readonly directoriesToMake: readonly string[];
}

export interface BuildInput {
  readonly volume: string;
  readonly attempt: number;
  readonly files: readonly StagedFile[];
}

/** `bytes` are copied to the thread, or shared with it where they stand in a SharedArrayBuffer. */
export interface StagedFile {
  readonly path: string;
  readonly sha256: Sha256;
  readonly executable: boolean;
  readonly bytes: Uint8Array;
}

export interface Built {
  readonly kind: 'built';
  readonly files: number;
  readonly bytes: number;
}

export interface ApplyInput {
  readonly volume: string;
  readonly attempt: number;
  /** Exactly what *permit* stored. */
  readonly record: AsideRecord;
  /** The whole wanted set; each path is an entry of the record. */
  readonly wanted: readonly WantedFile[];
  /**
   * Nanoseconds of the machine's monotonic clock (`process.hrtime.bigint()`) after which no further path is changed: then
   * GRANT_EXPIRED, and the same call with a new permit goes on from there. For a box, whose permit lives 60 s.
   */
  readonly notAfter?: bigint | undefined;
}

export interface Applied {
  readonly kind: 'applied';
  /** Nothing stood there; now the wanted file does. */
  readonly written: readonly string[];
  /** A file of ours stood there. */
  readonly replaced: readonly string[];
  /** Ours, not wanted, gone. */
  readonly removed: readonly string[];
  /** The wanted file stood there already and was not touched. */
  readonly unchanged: readonly string[];
  /** The user's files in the way; their paths are conflicts. */
  readonly kept: readonly KeptFile[];
  /** Wanted and not there, but not in our tree either (taken away after the survey): the workspace is due again. */
  readonly lacking: readonly string[];
  readonly directoriesMade: readonly string[];
  readonly directoriesRemoved: readonly string[];
  /** The folders of ours that stand now: what *finish* stores in place of the record's two lists. */
  readonly directories: readonly string[];
}

export interface ProbeInput {
  readonly volume: string;
  readonly files: readonly WantedFile[];
}

export interface ProbedFile {
  readonly path: string;
  /** `not-regular` also when a component above is not a directory; `different` in length or digest. */
  readonly state: 'ok' | 'missing' | 'different' | 'not-regular';
  /** What was read; null where nothing was, or it is longer than the wanted file. */
  readonly sha256: Sha256 | null;
}

export interface SettleInput {
  readonly volume: string;
  readonly attempt: number;
  /** What *permit* stored, or null when there was no permit. */
  readonly record: AsideRecord | null;
  /** Digests that this workspace may still hold; our other copies in aside/ are unlinked now (I9). */
  readonly mayHold: readonly Sha256[];
}

export interface Settled {
  /** Copies unlinked from aside/. */
  readonly unlinked: number;
  /** Copies that wait for the next fence, which judges once more what a late writer did to them. */
  readonly waiting: number;
}
