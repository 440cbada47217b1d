import type { Database, Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { editItem, type CatalogueFact, type ItemEdit } from '../edit-item.ts';
import type { CatalogueEntry, CatalogueRelease } from '../lookup.ts';
import type { ReleaseManifest } from '../manifest.ts';
import { changeStatusIn, moveChannelIn } from '../releases.ts';
import { decideItem, type ItemTerms, type ParsedRequest } from './request.ts';
import type { SealedArchive } from './seal.ts';
import type { SignedManifest } from './sign.ts';
import type { StoredObject } from './upload.ts';

/** A release that lies in the store and is not in the catalogue yet. */
export interface UploadedRelease {
  readonly signed: SignedManifest;
  readonly sealed: SealedArchive;
  readonly stored: StoredObject;
}

export interface Registered {
  /** Whether this call registered the release; false when it was there with the same content. */
  readonly isNew: boolean;
  readonly release: CatalogueRelease;
  readonly channelMoved: boolean;
}

/**
 * Puts a release into the catalogue, with its item when that is new, and approves it and moves a channel as asked, in one
 * transaction under the item's lock. Of two publishers at once the first registers; the other finds the release there.
 * @param uploaded undefined when an earlier look found the release registered
 * @throws Failure input CONFLICT (the version is there with other content), RELEASE_NOT_APPROVED; and as decideItem, editItem
 */
export async function registerRelease(
  database: Database, request: ParsedRequest, manifest: ReleaseManifest, uploaded: UploadedRelease | undefined,
): Promise<Registered> {
  return await editItem(database, request.itemId, async (trx, entry): Promise<ItemEdit<Registered>> => {
    const item = decideItem(entry, request);
    const known = entry?.releases.get(request.version);
    if (known !== undefined) checkSameContent(request, known, manifest);
    const facts: CatalogueFact[] = [];
    if (entry === undefined) {
      await insertItem(trx, item);
      facts.push({ type: 'ItemChanged', item });
    }
    const found = known ?? (await insertRelease(trx, request, manifest, uploaded));
    const approval = request.approve ? await changeStatusIn(trx, request.itemId, found, 'approved') : { release: found, facts: [] };
    // One event says what a new release is in the end.
    if (known === undefined) facts.push({ type: 'ReleaseChanged', release: approval.release });
    else facts.push(...approval.facts);
    const moved = request.channel === undefined ? [] : await moveChannelIn(trx, request.itemId, entry, request.channel, approval.release);
    facts.push(...moved);
    return {
      result: { isNew: known === undefined, release: approval.release, channelMoved: moved.length > 0 },
      facts,
      audit: auditOf(request, manifest, entry, known === undefined, approval.facts.length > 0, moved.length > 0),
      // Also a new item without an approved release: who waits for it is told another reason.
      wakes: entry === undefined || approval.facts.length > 0 || moved.length > 0 ? 'live' : null,
    };
  });
}

/** The same again writes nothing at all; other content under the same version is refused (A6's rule for releases: they never change). */
export function checkSameContent({ itemId, version }: ParsedRequest, known: CatalogueRelease, manifest: ReleaseManifest): void {
  if (known.archiveSha256 === manifest.archive_sha256) return;
  throw new Failure('input', 'CONFLICT',
    `${itemId} ${version} is registered with the content ${known.archiveSha256}, this is ${manifest.archive_sha256}: a release never changes`,
    { cure: 'Publish this content under a new version.' });
}

async function insertItem(trx: Transaction, item: ItemTerms): Promise<void> {
  // The version that the first fact of the edit mints.
  await trx.raw(
    'insert into items (item_id, seller_id, kind, access, runtimes, catalogue_version) values (?, ?, ?, ?, ?::text[], 1)',
    [item.itemId, item.sellerId, item.kind, item.access, [...item.runtimes]],
  );
}

async function insertRelease(
  trx: Transaction, { itemId, version, pin }: ParsedRequest, manifest: ReleaseManifest, uploaded: UploadedRelease | undefined,
): Promise<CatalogueRelease> {
  if (uploaded === undefined) throw new Error(`${itemId} ${version} was registered a moment ago and is not any more; releases are never deleted`);
  const { signed, sealed, stored } = uploaded;
  const release: CatalogueRelease = {
    version, status: 'submitted', archiveSha256: manifest.archive_sha256, archiveBytes: manifest.archive_bytes, files: manifest.files.length,
  };
  await trx('releases').insert({
    item_id: itemId, version, status: release.status,
    repository: pin.repository, commit_id: pin.commit, path: pin.path,
    archive_sha256: release.archiveSha256, archive_bytes: release.archiveBytes, files: release.files,
    manifest: signed.text, manifest_signature: Buffer.from(signed.signature),
    object_key: sealed.objectKey, object_version: stored.versionId, object_etag: stored.etag,
    ciphertext_sha256: sealed.ciphertextSha256, ciphertext_bytes: sealed.ciphertext.length, wrapped_data_key: sealed.wrappedDataKey,
  });
  return release;
}

function auditOf(
  request: ParsedRequest, manifest: ReleaseManifest, entry: CatalogueEntry | undefined, isNew: boolean, approved: boolean, moved: boolean,
): ItemEdit<Registered>['audit'] {
  const { itemId, version, sellerId, pin, channel } = request;
  const subject = { subjectKind: 'release' as const, subjectId: `${itemId}@${version}` };
  const by = { seller: sellerId, repository: pin.repository, commit: pin.commit, path: pin.path };
  return [
    ...(entry === undefined ? [{ subjectKind: 'item' as const, subjectId: itemId, action: 'register', outcome: 'registered', detail: by }] : []),
    ...(isNew ? [{ ...subject, action: 'publish', outcome: 'registered', detail: { ...by, archive_sha256: manifest.archive_sha256 } }] : []),
    ...(approved ? [{ ...subject, action: 'approve', outcome: 'approved', detail: { ...by, reason: 'published as approved' } }] : []),
    ...(moved ? [{
      subjectKind: 'item' as const, subjectId: itemId, action: 'set channel', outcome: 'moved',
      detail: { channel, version, before: (channel && entry?.channels.get(channel)) ?? null, reason: 'published to the channel' },
    }] : []),
  ];
}
