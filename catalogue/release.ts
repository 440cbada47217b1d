import type { ReleaseStatus as EventReleaseStatus } from '../schemas/generated/events.ts';
import { isVersion, type Channel, type Policy, type RuntimeId, type Version, type WorkspaceId } from '../schemas/ids.ts';
import { findRuntime } from '../schemas/runtimes.ts';
import { isInside, type OpenRollout } from './rollout.ts';

/**
 * The life of a release:
 *
 *   submitted → approved → yanked
 *   submitted, approved, yanked → quarantined
 *
 * Only an approved one resolves; a yanked one still does where it is held, so that a boot of a workspace that has it finds
 * it; a quarantined one never does, and nothing leads out of it.
 */
export type ReleaseStatus = Exclude<EventReleaseStatus, 'unknown'>;

const next: Readonly<Record<ReleaseStatus, readonly ReleaseStatus[]>> = {
  submitted: ['approved', 'quarantined'],
  approved: ['yanked', 'quarantined'],
  yanked: ['quarantined'],
  quarantined: [],
};

export type StatusDecision =
  | { readonly kind: 'changed'; readonly status: ReleaseStatus }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'rejected'; readonly reason: string };

/** Whether a release may get another status (B3). */
export function decideStatus(current: ReleaseStatus, wanted: ReleaseStatus): StatusDecision {
  if (current === wanted) return { kind: 'unchanged' };
  if (next[current].includes(wanted)) return { kind: 'changed', status: wanted };
  const ways = next[current].join(' or ');
  return { kind: 'rejected', reason: `a ${current} release cannot become ${wanted}, ${ways === '' ? 'it stays so' : `only ${ways}`}` };
}

/** What resolving needs to know of a release. */
export interface ReleaseState {
  readonly version: Version;
  readonly status: ReleaseStatus;
}

export interface ResolveContext {
  /** For whom: a rollout has come to it, or not yet. */
  readonly workspaceId: WorkspaceId;
  /** Versions of this item in what the workspace holds or was last told it holds: yanked ones resolve for it. */
  readonly heldVersions: ReadonlySet<Version>;
}

export type Resolution<Release extends ReleaseState> =
  | { readonly kind: 'resolved'; readonly release: Release }
  | { readonly kind: 'refused'; readonly code: 'RELEASE_NOT_APPROVED'; readonly reason: string };

/** The channels of an item, and those of them that are being moved in steps. */
export interface Channels {
  readonly channels: ReadonlyMap<Channel, Version>;
  readonly rollouts: ReadonlyMap<Channel, OpenRollout>;
}

/**
 * Which release a policy means, if any: a pin exactly that version, a channel the version it points to; where a rollout of
 * the channel has come to the workspace, the new one, as long as that resolves for it. Never another one in its place: what
 * was not approved fails closed.
 */
export function resolveRelease<Release extends ReleaseState>(
  policy: Policy, { channels, rollouts }: Channels, releases: ReadonlyMap<Version, Release>, context: ResolveContext,
): Resolution<Release> {
  if (isVersion(policy)) return resolveVersion(policy, releases, context);
  const rollout = rollouts.get(policy);
  if (rollout !== undefined && isInside(rollout, context.workspaceId)) {
    const next = resolveVersion(rollout.version, releases, context);
    // A release that was yanked meanwhile stays where it is held; who has not got it yet keeps the previous one.
    if (next.kind === 'resolved') return next;
  }
  const version = channels.get(policy);
  return version === undefined ? refuse(`the item has no channel ${policy}`) : resolveVersion(version, releases, context);
}

const refuse = (reason: string): Extract<Resolution<never>, { kind: 'refused' }> => ({ kind: 'refused', code: 'RELEASE_NOT_APPROVED', reason });

function resolveVersion<Release extends ReleaseState>(
  version: Version, releases: ReadonlyMap<Version, Release>, { heldVersions }: ResolveContext,
): Resolution<Release> {
  const release = releases.get(version);
  if (release === undefined) return refuse(`the item has no release ${version}`);
  switch (release.status) {
    case 'approved':
      return { kind: 'resolved', release };
    case 'yanked':
      return heldVersions.has(version) ? { kind: 'resolved', release } : refuse(`release ${version} was yanked`);
    case 'submitted':
      return refuse(`release ${version} is not approved yet`);
    case 'quarantined':
      return refuse(`release ${version} is in quarantine`);
  }
}

/** Names of the files, at the root of a template, that a boot probe of this runtime reads (C9). */
export function identityNames(runtime: RuntimeId): readonly string[] {
  return findRuntime(runtime)?.identityFiles ?? [];
}

/** As identityNames for every runtime of a template, without repeats, sorted: what its releases mark and have to bring. */
export function identityNamesOfAll(runtimes: readonly RuntimeId[]): string[] {
  return [...new Set(runtimes.flatMap(identityNames))].toSorted();
}
