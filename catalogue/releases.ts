import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Channel, ItemId, Version } from '../schemas/ids.ts';
import { editItem, type CatalogueFact } from './edit-item.ts';
import type { CatalogueEntry, CatalogueRelease } from './lookup.ts';
import { decideStatus } from './release.ts';

export interface ReleaseName {
  readonly itemId: ItemId;
  readonly version: Version;
}

/** What a person decided about an item, and why. */
export interface CatalogueDecision {
  readonly changed: boolean;
}

/**
 * Approves a submitted release, so that it may resolve (B3). Approving an approved one changes nothing.
 * @throws Failure input NOT_FOUND, CONFLICT (it was yanked or quarantined)
 */
export async function approveRelease(database: Database, { itemId, version, reason }: ReleaseName & { readonly reason: string }): Promise<CatalogueDecision> {
  return await editItem(database, itemId, async (trx, entry) => {
    const { facts } = await approveIn(trx, itemId, findRelease(entry, { itemId, version }));
    const changed = facts.length > 0;
    return {
      result: { changed }, facts, resolvesAnew: changed,
      audit: changed ? [{ subjectKind: 'release', subjectId: `${itemId}@${version}`, action: 'approve', outcome: 'approved', detail: { reason } }] : [],
    };
  });
}

/**
 * Points a channel to an approved release (B3): pointing it to another would take the item away from everybody who follows it.
 * @throws Failure input NOT_FOUND, RELEASE_NOT_APPROVED
 */
export async function setChannel(
  database: Database, { itemId, version, channel, reason }: ReleaseName & { readonly channel: Channel; readonly reason: string },
): Promise<CatalogueDecision> {
  return await editItem(database, itemId, async (trx, entry) => {
    const release = findRelease(entry, { itemId, version });
    const facts = await moveChannelIn(trx, itemId, entry, channel, release);
    const changed = facts.length > 0;
    return {
      result: { changed }, facts, resolvesAnew: changed,
      audit: changed ? [{
        subjectKind: 'item', subjectId: itemId, action: 'set channel', outcome: 'moved',
        detail: { channel, version, before: entry?.channels.get(channel) ?? null, reason },
      }] : [],
    };
  });
}

/** Approves within an edit of the item. @returns the release as it stands then, and what changed */
export async function approveIn(
  trx: Transaction, itemId: ItemId, release: CatalogueRelease,
): Promise<{ readonly release: CatalogueRelease; readonly facts: CatalogueFact[] }> {
  const decision = decideStatus(release.status, 'approved');
  switch (decision.kind) {
    case 'unchanged':
      return { release, facts: [] };
    case 'rejected':
      throw new Failure('input', 'CONFLICT', `${itemId} ${release.version} is not approved: ${decision.reason}`);
    case 'changed': {
      await trx.raw('update releases set status = ? where item_id = ? and version = ?', [decision.status, itemId, release.version]);
      const approved = { ...release, status: decision.status };
      return { release: approved, facts: [{ type: 'ReleaseChanged', release: approved }] };
    }
  }
}

/** Moves a channel within an edit of the item. @returns what changed, nothing when it points there already */
export async function moveChannelIn(
  trx: Transaction, itemId: ItemId, entry: CatalogueEntry | undefined, channel: Channel, release: CatalogueRelease,
): Promise<CatalogueFact[]> {
  if (release.status !== 'approved') {
    throw new Failure('input', 'RELEASE_NOT_APPROVED', `The channel ${channel} of ${itemId} is not moved: release ${release.version} is ${release.status}, and a channel leads to an approved release`);
  }
  if (entry?.channels.get(channel) === release.version) return [];
  await trx.raw(
    `insert into channels (item_id, channel, version) values (?, ?, ?)
     on conflict (item_id, channel) do update set version = excluded.version`,
    [itemId, channel, release.version],
  );
  return [{ type: 'ChannelMoved', channel, version: release.version }];
}

function findRelease(entry: CatalogueEntry | undefined, { itemId, version }: ReleaseName): CatalogueRelease {
  const release = entry?.releases.get(version);
  if (release !== undefined) return release;
  const reason = entry === undefined ? `there is no item ${itemId}` : `${itemId} has no release ${version}`;
  throw new Failure('input', 'NOT_FOUND', `Not in the catalogue: ${reason}`);
}
