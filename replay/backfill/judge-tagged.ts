import type { ItemId } from '../../schemas/ids.ts';
import type { Pin } from './canary-gate.ts';
import type { IdentityVerdict } from './identity.ts';

/** Everything that is known of one tagged workspace when the run is verified. */
export interface Tagged {
  /** Of the plan; null: the run changed a workspace that its plan does not have. */
  readonly planned: { readonly item: ItemId; readonly pin: Pin | null } | null;
  /** What the run set. */
  readonly set: string | null;
  /** The record in the control plane's database; null: gone. */
  readonly template: string | null;
  /** Nobody set the template since the run did. */
  readonly isStillOurs: boolean;
  /** The identity before it was tagged, by what is known of files now. */
  readonly before: IdentityVerdict['kind'];
  /** The pipeline's copy of the record names the template. */
  readonly isFolded: boolean;
  /** What the last finish recorded holds the planned release. */
  readonly isPresent: boolean;
  /** AssetsReady was said, in the epoch that the tagging asked for or a later one. */
  readonly isReady: boolean;
  /** The identity files are those of the planned release now, digest for digest; null: they cannot be read. */
  readonly probe: boolean | null;
}

export type TaggedVerdict = 'ready' | 'waiting' | 'drifted' | 'changed-since' | 'mis-tagged';

/**
 * - mis-tagged: set without or against the plan, or the identity before was another's: a security incident (D3).
 * - changed-since: somebody set the template after the run; not the run's any more.
 * - drifted: said to be ready, but the files are not those of the release.
 * - waiting: not there yet.
 */
export function judgeTagged(tagged: Tagged): TaggedVerdict {
  const { planned, set, template, isStillOurs, before, isFolded, isPresent, isReady, probe } = tagged;
  if (planned === null || planned.pin === null || set !== planned.item || before === 'contradicts') return 'mis-tagged';
  if (!isStillOurs || template !== planned.item) return 'changed-since';
  if (!isFolded || !isPresent || !isReady) return 'waiting';
  return probe === true ? 'ready' : 'drifted';
}
