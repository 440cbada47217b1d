import type { Fenced, KeptFile, ProbedFile } from '../delivery/volume/volume-work.ts';
import type { Failure } from '../process/failure.ts';
import type { Code } from '../schemas/codes.ts';
import type { Sha256 } from '../schemas/ids.ts';

/** A file of the set as it was read; null where nothing or no regular file is. */
export interface ReadFile {
  readonly path: string;
  readonly sha256: Sha256 | null;
}

export interface Found {
  readonly files: readonly ReadFile[];
  /** The user's, where ours were wanted. */
  readonly kept: readonly KeptFile[];
  /** Paths of an immediate removal where nothing of ours is any more. */
  readonly removed: readonly string[];
  /** Folders of ours that stand now. */
  readonly directories: readonly string[];
  /** What the fence gave back to the user, or moved to kept/. */
  readonly rescued: Pick<Fenced, 'returned' | 'kept'>;
}

/** The body of POST probes (protocol). */
export const attemptReport = (attempt: number, { files, kept, removed, directories, rescued }: Found) => ({
  attempt, files, kept: kept.flatMap(keptFile), removed, directories,
  rescued: { returned: rescued.returned, kept: rescued.kept.flatMap(keptFile) }, failed: null,
});

/** The end of an attempt that failed. The path is in no message that leaves the box. */
export const failedReport = (attempt: number, { code }: Failure) => ({
  attempt, files: [], kept: [], removed: [], directories: [], rescued: { returned: [], kept: [] }, failed: { code: reportable(code), path: null },
});

/** A probe's result as the report has it, with the user's files among them as kept. */
export function probedFiles(probed: readonly ProbedFile[]): { readonly files: readonly ReadFile[]; readonly users: readonly KeptFile[] } {
  const users = probed.flatMap(({ path, state }): KeptFile[] => {
    if (state === 'different') return [{ path, reason: 'edited', movedTo: null }];
    return state === 'not-regular' ? [{ path, reason: 'not-regular', movedTo: null }] : [];
  });
  return { files: probed.map(({ path, sha256 }) => ({ path, sha256 })), users };
}

/** What was found without a path on record has nothing to say to the broker but that it is there. */
function keptFile({ path, reason, movedTo }: KeptFile): { path: string; reason: KeptFile['reason']; moved_to: string | null }[] {
  return path === null ? [] : [{ path, reason, moved_to: movedTo }];
}

/** Codes that a report may carry; anything else is, to the broker, an attempt that could not be made. */
const reportableCodes: ReadonlySet<Code> = new Set<Code>([
  'VOLUME_FULL', 'VOLUME_UNWRITABLE', 'UNSUPPORTED_VOLUME', 'PATH_REFUSED', 'INTEGRITY_FAILED', 'MANIFEST_INVALID', 'GATE_FIELD', 'TOO_LARGE',
  'MISSING_ASSETS', 'GRANT_EXPIRED', 'UPSTREAM', 'UNAVAILABLE',
]);

const reportable = (code: Code): Code => (reportableCodes.has(code) ? code : 'UNAVAILABLE');
