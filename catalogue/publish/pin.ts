import { Failure } from '../../process/failure.ts';
import { FieldError, parseCommitId, type CommitId } from '../../schemas/ids.ts';
import type { SourceFile } from '../archive.ts';
import type { ReleaseLimits } from '../limits.ts';

/** A folder at a commit of a repository. */
export interface Pin {
  /** An https URL, or a local directory. */
  readonly repository: string;
  /** A full commit id. */
  readonly commit: CommitId;
  /** Folder in the repository, with `/` between its components; '' is its root. */
  readonly path: string;
}

/** A commit that was found in the history of the default branch, open for reading. */
export interface PinnedCommit {
  /**
   * How the repository is named in what is signed and kept: its https URL; of a local one the https URL of its origin, else
   * the name of its folder. Never a path, which says something of a machine and nothing to anybody else.
   */
  readonly repository: string;
  /** Name of the branch that the commit was found in. */
  readonly defaultBranch: string;
  /**
   * Regular files below a folder, paths relative to it, in no order. Their names are as the repository has them.
   * @param only paths below the folder: nothing beside them is looked at
   * @throws Failure input NOT_FOUND (no such folder), PATH_REFUSED (a link, a submodule, a name that is not UTF-8), TOO_LARGE;
   *   dependency UNAVAILABLE, UPSTREAM
   */
  readFolder(path: string, limits: ReleaseLimits, only?: readonly string[]): Promise<SourceFile[]>;
}

/** Reads commits out of git objects, without a checkout. Implemented by adapters/git. */
export interface SourceRepository {
  /**
   * Finds the commit in the history of the default branch, and keeps it open until it is disposed of.
   * @throws Failure input PIN_UNMERGED (not in that history), NOT_FOUND (no such repository), FIELD_INVALID or
   *   ADDRESS_REFUSED (a repository that may not be read); dependency UNAVAILABLE, UPSTREAM
   */
  open(pin: Pick<Pin, 'repository' | 'commit'>): Promise<PinnedCommit & AsyncDisposable>;
}

/** unknown → a commit id that can be a pin (B2): a branch, a tag or an abbreviation names another commit tomorrow. @throws Failure input PIN_UNMERGED */
export function parsePinnedCommit(value: unknown): CommitId {
  try {
    return parseCommitId(value);
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    throw new Failure('input', 'PIN_UNMERGED', `${JSON.stringify(value)} is no pin: a branch, tag or short id may name another commit tomorrow. Give the full commit id`, { cause: error });
  }
}

/** unknown → a clean folder path inside a repository, '' for its root. @throws FieldError */
export function parseFolder(value: unknown, field = 'path'): string {
  if (value === '' || value === '.' || value === './') return '';
  const expected = "a folder inside the repository, such as templates/seo-agent, without '..', '.' or empty components";
  if (typeof value !== 'string' || value.length > 1_000) throw new FieldError(field, expected, value);
  const path = value.replace(/\/$/u, '');
  const clean = path.split('/').every((name) => name !== '' && name !== '.' && name !== '..') && !/[\p{Cc}\\]/u.test(path) && path.isWellFormed();
  if (!clean) throw new FieldError(field, expected, value);
  return path;
}
