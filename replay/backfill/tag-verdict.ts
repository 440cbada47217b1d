import type { Code } from '../../schemas/codes.ts';
import type { ItemId, RuntimeId } from '../../schemas/ids.ts';
import type { WorkspaceStatus } from '../../schemas/generated/events.ts';

/** The record in the control plane's database, as far as tagging needs it. */
export interface TagTarget {
  readonly template: string | null;
  readonly runtime: RuntimeId;
  readonly status: WorkspaceStatus;
}

export type TagVerdict = { readonly act: 'tag' } | { readonly act: 'leave'; readonly state: 'already' | 'skipped'; readonly code: Code | null };

/** Only WHERE template IS NULL, and only the runtime that was planned with (D3); asked by the plan and again at the write. */
export function decideTag({ template, runtime, status }: TagTarget, wanted: { readonly item: ItemId; readonly runtime: RuntimeId }): TagVerdict {
  if (status === 'removed') return { act: 'leave', state: 'skipped', code: 'REMOVED' };
  if (template === wanted.item) return { act: 'leave', state: 'already', code: null };
  if (template !== null) return { act: 'leave', state: 'skipped', code: 'SET_BY_HAND' };
  if (runtime !== wanted.runtime) return { act: 'leave', state: 'skipped', code: 'RUNTIME_MISMATCH' };
  return { act: 'tag' };
}

/** A run's own change, and the record now. `templateVersion`: the record version that set the template last. */
export interface RevertTarget extends Pick<TagTarget, 'template' | 'status'> {
  readonly templateVersion: number;
}

/** Only what is still ours: the value that the run set, and nobody set the template since, not even to the same (D6). */
export function decideRevert(
  { template, status, templateVersion }: RevertTarget, set: { readonly template: string | null; readonly recordVersion: number },
): TagVerdict {
  if (status === 'removed') return { act: 'leave', state: 'skipped', code: 'REMOVED' };
  if (template === set.template && templateVersion === set.recordVersion) return { act: 'tag' };
  return { act: 'leave', state: 'skipped', code: 'SET_BY_HAND' };
}
