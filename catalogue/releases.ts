import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Channel, ItemId, Version } from '../schemas/ids.ts';
import { editItem, type CatalogueFact } from './edit-item.ts';
import type { CatalogueEntry, CatalogueRelease } from './lookup.ts';
import { decideStatus, type ReleaseStatus } from './release.ts';
import { stopRolloutsOf, type StoppedRollout } from './rollout-rows.ts';

export interface ReleaseName {
  readonly itemId: ItemId;
  readonly version: Version;
}

/** What a person decided about an item, and why. */
export interface CatalogueDecision {
  readonly changed: boolean;
}

export interface StatusChange extends CatalogueDecision {
  readonly before: ReleaseStatus;
  /** Channels that lead to the release all the same, sorted: who follows one of them gets nothing until it is moved. */
  readonly channels: readonly Channel[];
  /** Rollouts of the release that this stopped: a yanked one goes no further, a quarantined one goes back. */
  readonly rollouts: readonly StoppedRollout[];
}

/** What was done to a release, in the words of the command and the audit. */
const actions: Readonly<Record<DecidedStatus, string>> = { approved: 'approve', yanked: 'yank', quarantined: 'quarantine' };

/** A status that a person decides on; publishing alone makes a submitted release. */
export type DecidedStatus = Exclude<ReleaseStatus, 'submitted'>;

/**
 * Gives a release another status (B3): what resolves, is kept or has to go follows from it, and the workspaces that name or
 * hold the item look again; after a quarantine at once, before all other work (C13). The same again changes nothing.
 * @throws Failure input NOT_FOUND, CONFLICT (the life of a release has no such way), FIELD_INVALID (no reason)
 */
export async function changeStatus(
  database: Database, { itemId, version, status, reason }: ReleaseName & { readonly status: DecidedStatus; readonly reason: string },
): Promise<StatusChange> {
  const why = parseReason(reason);
  return await editItem(database, itemId, async (trx, entry) => {
    const found = findRelease(entry, { itemId, version });
    const { facts } = await changeStatusIn(trx, itemId, found, status);
    const changed = facts.length > 0;
    const stopped = changed && status !== 'approved' ? await stopRolloutsOf(trx, { itemId, version, status, reason: why }) : [];
    const leading = [...entry?.channels ?? []].filter(([, to]) => to === version).map(([channel]) => channel).toSorted();
    return {
      result: { changed, before: found.status, channels: status === 'approved' ? [] : leading, rollouts: stopped },
      facts,
      wakes: !changed ? null : status === 'quarantined' ? 'urgent' : 'live',
      audit: changed ? [{
        subjectKind: 'release', subjectId: `${itemId}@${version}`, action: actions[status], outcome: status,
        detail: { reason: why, before: found.status },
      }, ...stopped.map(({ channel, state }) => ({
        subjectKind: 'item' as const, subjectId: itemId, action: 'rollout', outcome: state,
        detail: { channel, version, reason: `release ${version} was ${status}: ${why}` },
      }))] : [],
    };
  });
}

/**
 * Points a channel to an approved release (B3), for everybody who follows it at once: pointing it to another would take the item
 * away from them. In steps: startRollout (rollouts.ts).
 * @throws Failure input NOT_FOUND, RELEASE_NOT_APPROVED, ROLLOUT_OPEN, FIELD_INVALID (no reason)
 */
export async function setChannel(
  database: Database, { itemId, version, channel, reason }: ReleaseName & { readonly channel: Channel; readonly reason: string },
): Promise<CatalogueDecision> {
  const why = parseReason(reason);
  return await editItem(database, itemId, async (trx, entry) => {
    const release = findRelease(entry, { itemId, version });
    const facts = await moveChannelIn(trx, itemId, entry, channel, release);
    const changed = facts.length > 0;
    return {
      result: { changed }, facts, wakes: changed ? 'live' : null,
      audit: changed ? [{
        subjectKind: 'item', subjectId: itemId, action: 'set channel', outcome: 'moved',
        detail: { channel, version, before: entry?.channels.get(channel) ?? null, reason: why },
      }] : [],
    };
  });
}

/** Changes a status within an edit of the item. @returns the release as it stands then, and what changed */
export async function changeStatusIn(
  trx: Transaction, itemId: ItemId, release: CatalogueRelease, status: DecidedStatus,
): Promise<{ readonly release: CatalogueRelease; readonly facts: CatalogueFact[] }> {
  const decision = decideStatus(release.status, status);
  switch (decision.kind) {
    case 'unchanged':
      return { release, facts: [] };
    case 'rejected':
      throw new Failure('input', 'CONFLICT', `${itemId} ${release.version} is not ${status}: ${decision.reason}`, {
        cure: 'Publish another version: the life of a release has no way back.',
      });
    case 'changed': {
      await trx.raw('update releases set status = ? where item_id = ? and version = ?', [decision.status, itemId, release.version]);
      const changed = { ...release, status: decision.status };
      return { release: changed, facts: [{ type: 'ReleaseChanged', release: changed }] };
    }
  }
}

/** Moves a channel within an edit of the item. @returns what changed, nothing when it points there already */
export async function moveChannelIn(
  trx: Transaction, itemId: ItemId, entry: CatalogueEntry | undefined, channel: Channel, release: CatalogueRelease,
): Promise<CatalogueFact[]> {
  refuseWhileRolling(itemId, entry, channel);
  return await pointChannelIn(trx, itemId, entry, channel, release);
}

/** One move at a time: a second one would change under the first what it falls back to. */
export function refuseWhileRolling(itemId: ItemId, entry: CatalogueEntry | undefined, channel: Channel): void {
  const rollout = entry?.rollouts.get(channel);
  if (rollout === undefined) return;
  throw new Failure('input', 'ROLLOUT_OPEN', `The channel ${channel} of ${itemId} is being moved to ${rollout.version} in steps, and not by anything else meanwhile`);
}

/** As moveChannelIn, also at the end of the rollout that the channel is in. */
export async function pointChannelIn(
  trx: Transaction, itemId: ItemId, entry: CatalogueEntry | undefined, channel: Channel, release: CatalogueRelease,
): Promise<CatalogueFact[]> {
  refuseUnapproved(itemId, channel, release);
  if (entry?.channels.get(channel) === release.version) return [];
  await trx.raw(
    `insert into channels (item_id, channel, version) values (?, ?, ?)
     on conflict (item_id, channel) do update set version = excluded.version`,
    [itemId, channel, release.version],
  );
  return [{ type: 'ChannelMoved', channel, version: release.version }];
}

/** @throws Failure input RELEASE_NOT_APPROVED */
export function refuseUnapproved(itemId: ItemId, channel: Channel, release: CatalogueRelease): void {
  if (release.status === 'approved') return;
  throw new Failure('input', 'RELEASE_NOT_APPROVED', `The channel ${channel} of ${itemId} is not moved: release ${release.version} is ${release.status}, and a channel leads to an approved release`);
}

/** @throws Failure input NOT_FOUND */
export function findRelease(entry: CatalogueEntry | undefined, { itemId, version }: ReleaseName): CatalogueRelease {
  const release = entry?.releases.get(version);
  if (release !== undefined) return release;
  const reason = entry === undefined ? `there is no item ${itemId}` : `${itemId} has no release ${version}`;
  throw new Failure('input', 'NOT_FOUND', `Not in the catalogue: ${reason}`);
}

/** A reason that somebody can read later. @throws Failure input FIELD_INVALID */
export function parseReason(text: string): string {
  const reason = text.trim();
  if (reason === '' || reason.length > 1_000) throw new Failure('input', 'FIELD_INVALID', 'reason should say why, in 1 to 1,000 characters: it is kept in the audit');
  return reason;
}
