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

export interface PinnedFiles {
  /** Name of the branch that the commit was found in. */
  readonly defaultBranch: string;
  /** Regular files below the folder, paths relative to it, in no order. Their names are as the repository has them. */
  readonly files: readonly SourceFile[];
}

/**
 * Reads a folder at a commit out of git objects, without a checkout, after it has found the commit in the history of the
 * default branch. Implemented by adapters/git.
 */
export interface SourceRepository {
  /**
   * @throws Failure input PIN_UNMERGED (not in the default branch's history), PATH_REFUSED (a link, a submodule, a name that
   *   is not UTF-8), TOO_LARGE, NOT_FOUND (no such repository or folder), FIELD_INVALID or ADDRESS_REFUSED (a repository that
   *   may not be read); dependency UNAVAILABLE, UPSTREAM
   */
  readPinned(pin: Pin, limits: ReleaseLimits): Promise<PinnedFiles>;
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
