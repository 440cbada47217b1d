import { asDatabaseFailure, type Database } from '../process/database.ts';
import type { ItemAccess } from '../schemas/generated/events.ts';
import type { Channel, CommitId, ItemId, RuntimeId, SellerId, Sha256, Version } from '../schemas/ids.ts';
import type { Channels, ReleaseStatus } from './release.ts';
import type { OpenRollout } from './rollout.ts';
import type { ReleaseSource } from './source.ts';
import type { Kind } from './target-path.ts';

export type Access = Exclude<ItemAccess, 'unknown'>;

/** One item of the allowlist (B1). */
export interface CatalogueItem {
  readonly itemId: ItemId;
  readonly sellerId: SellerId;
  readonly kind: Kind;
  readonly access: Access;
  /** Sorted. */
  readonly runtimes: readonly RuntimeId[];
  readonly catalogueVersion: number;
}

/** What a plan needs to know of a release. */
export interface CatalogueRelease {
  readonly version: Version;
  readonly status: ReleaseStatus;
  readonly archiveSha256: Sha256;
  /** Length of the archive before compression. */
  readonly archiveBytes: number;
  readonly files: number;
}

/** An item with everything that resolving and authorising it takes. */
export interface CatalogueEntry extends CatalogueItem, Channels {
  readonly releases: ReadonlyMap<Version, CatalogueRelease>;
}

/** One release as it is kept: what was signed, where the sealed object lies, and the keys of its seller. */
export interface SealedRelease {
  readonly itemId: ItemId;
  readonly kind: Kind;
  readonly sellerId: SellerId;
  readonly version: Version;
  readonly archiveSha256: Sha256;
  readonly archiveBytes: number;
  /** The text that was signed, and the signature. */
  readonly manifest: string;
  readonly manifestSignature: Buffer;
  readonly objectKey: string;
  readonly objectVersion: string | null;
  readonly objectEtag: string;
  readonly ciphertextSha256: Sha256;
  readonly ciphertextBytes: number;
  readonly wrappedDataKey: Buffer;
  /** Where its bytes come from (C2), and the pin that they were made of: repository, full commit id, folder. */
  readonly source: ReleaseSource;
  readonly access: Access;
  readonly repository: string;
  readonly commit: CommitId;
  readonly path: string;
  /** KMS key that wraps the seller's data keys. */
  readonly wrappingKeyId: string;
  /** Ed25519 public key of the seller, SPKI DER. */
  readonly signingPublicKey: Buffer;
}

const itemColumns = `i.item_id as "itemId", i.seller_id as "sellerId", i.kind, i.access, i.runtimes, i.catalogue_version as "catalogueVersion"`;

/**
 * The items of these ids with their channels and releases, in one statement and so from one snapshot. What is not in the
 * catalogue is not in the answer: the caller fails closed (B1). Take the items' locks in an earlier statement.
 */
export async function loadCatalogue(database: Database, itemIds: readonly ItemId[]): Promise<Map<ItemId, CatalogueEntry>> {
  interface Row extends CatalogueItem {
    channels: Record<Channel, Version>;
    rollouts: Record<Channel, OpenRollout>;
    releases: CatalogueRelease[];
  }
  const rows = await ask<Row>(database, `
    select ${itemColumns},
      coalesce((select jsonb_object_agg(c.channel, c.version) from channels c where c.item_id = i.item_id), '{}') as channels,
      coalesce((select jsonb_object_agg(o.channel, jsonb_build_object('version', o.to_version, 'seed', o.seed, 'share', o.steps[o.step]))
        from rollouts o where o.item_id = i.item_id and o.state in ('running', 'halted')), '{}') as rollouts,
      coalesce((select jsonb_agg(jsonb_build_object('version', r.version, 'status', r.status, 'archiveSha256', r.archive_sha256,
          'archiveBytes', r.archive_bytes, 'files', r.files)) from releases r where r.item_id = i.item_id), '[]') as releases
    from items i where i.item_id = any(?::text[])`, [[...itemIds]]);
  return new Map(rows.map((row) => [row.itemId, {
    ...row,
    channels: new Map(Object.entries(row.channels) as [Channel, Version][]), // what jsonb_object_agg made of two columns
    rollouts: new Map(Object.entries(row.rollouts) as [Channel, OpenRollout][]), // likewise
    releases: new Map(row.releases.map((release) => [release.version, release])),
  }]));
}

/** One item of the allowlist, for producers that check a template or plugin before they name it (B1). */
export async function findItem(database: Database, itemId: ItemId): Promise<CatalogueItem | undefined> {
  const rows = await ask<CatalogueItem>(database, `select ${itemColumns} from items i where i.item_id = ?`, [itemId]);
  return rows[0];
}

/** The sealed releases of these (item, version), in one statement; what is not registered is not in the answer. */
export async function loadSealedReleases(
  database: Database, wanted: readonly { readonly itemId: ItemId; readonly version: Version }[],
): Promise<SealedRelease[]> {
  return await ask<SealedRelease>(database, `
    select r.item_id as "itemId", i.kind, i.seller_id as "sellerId", r.version, r.archive_sha256 as "archiveSha256",
      r.archive_bytes as "archiveBytes", r.manifest, r.manifest_signature as "manifestSignature", r.object_key as "objectKey",
      r.object_version as "objectVersion", r.object_etag as "objectEtag", r.ciphertext_sha256 as "ciphertextSha256",
      r.ciphertext_bytes as "ciphertextBytes", r.wrapped_data_key as "wrappedDataKey",
      r.source, i.access, r.repository, r.commit_id as commit, r.path, s.wrapping_key_id as "wrappingKeyId",
      s.signing_public_key as "signingPublicKey"
    from unnest(?::text[], ?::text[]) as wanted(item_id, version)
    join releases r using (item_id, version) join items i using (item_id) join sellers s using (seller_id)
    order by r.item_id, r.version`,
  [wanted.map((release) => release.itemId), wanted.map((release) => release.version)]);
}

/** A seller and its keys. */
export interface Seller {
  readonly sellerId: SellerId;
  readonly wrappingKeyId: string;
  readonly signingKeyId: string;
  readonly signingPublicKey: Buffer;
}

export async function findSeller(database: Database, sellerId: SellerId): Promise<Seller | undefined> {
  const rows = await ask<Seller>(database, `
    select seller_id as "sellerId", wrapping_key_id as "wrappingKeyId", signing_key_id as "signingKeyId",
      signing_public_key as "signingPublicKey"
    from sellers where seller_id = ?`, [sellerId]);
  return rows[0];
}

/** Rows hold ids that were parsed before they were written, so they are taken as typed. */
async function ask<Row>(database: Database, sql: string, bindings: (string | string[])[]): Promise<Row[]> {
  try {
    const result = await database.raw<{ rows: Row[] }>(sql, bindings);
    return result.rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
