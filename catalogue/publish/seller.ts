import { appendAudit } from '../../process/audit.ts';
import { tx, type Database } from '../../process/database.ts';
import type { SellerId } from '../../schemas/ids.ts';
import { findSeller, type Seller } from '../lookup.ts';

/** The keys of sellers. Implemented by adapters/kms. */
export interface SellerKeys {
  /** @returns the full name of the key, as it stands in every message that it wraps a data key of */
  createWrappingKey(sellerId: SellerId): Promise<string>;
  /** An Ed25519 key; its public half as SPKI DER. */
  createSigningKey(sellerId: SellerId): Promise<{ readonly keyId: string; readonly publicKey: Uint8Array }>;
  /** Has a key destroyed that nothing was made with. */
  discard(keyId: string): Promise<void>;
}

export interface SellerReport {
  readonly seller: Seller;
  readonly created: boolean;
}

/**
 * Registers a seller with a wrapping key and a signing key of its own (B4); a seller that is there keeps its keys. Of two
 * at once one wins, and the keys of the other are destroyed.
 * @throws Failure dependency UNAVAILABLE, UPSTREAM; subject KEY_UNUSABLE
 */
export async function createSeller(database: Database, keys: SellerKeys, sellerId: SellerId): Promise<SellerReport> {
  const known = await findSeller(database, sellerId);
  if (known !== undefined) return { seller: known, created: false };

  const wrappingKeyId = await keys.createWrappingKey(sellerId);
  const signing = await keys.createSigningKey(sellerId);
  const seller: Seller = { sellerId, wrappingKeyId, signingKeyId: signing.keyId, signingPublicKey: Buffer.from(signing.publicKey) };
  const created = await register(database, seller);
  if (created) return { seller, created };

  await keys.discard(wrappingKeyId);
  await keys.discard(signing.keyId);
  return { seller: (await findSeller(database, sellerId)) ?? seller, created };
}

async function register(database: Database, seller: Seller): Promise<boolean> {
  return await tx(database, async (trx) => {
    const inserted = await trx.raw<{ rowCount: number }>(
      `insert into sellers (seller_id, wrapping_key_id, signing_key_id, signing_public_key) values (?, ?, ?, ?)
       on conflict (seller_id) do nothing`,
      [seller.sellerId, seller.wrappingKeyId, seller.signingKeyId, seller.signingPublicKey],
    );
    if (inserted.rowCount === 0) return false;
    await appendAudit(trx, [{
      subjectKind: 'seller', subjectId: seller.sellerId, action: 'create', outcome: 'created',
      detail: { wrappingKeyId: seller.wrappingKeyId, signingKeyId: seller.signingKeyId },
    }]);
    return true;
  });
}
