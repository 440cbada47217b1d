import { appendAudit } from '../../process/audit.ts';
import { asDatabaseFailure, tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { SellerId } from '../../schemas/ids.ts';
import { followKeyLists, keyIdOf, parseKeyList, serializeKeyList, trustFirst, type KeyList, type ListedKey, type SignedKeyList } from '../key-list.ts';

/** Lists that are answered at once; a box that is further behind asks again. */
export const listsMax = 100;

/** The lists after a version, oldest first; without one the newest alone. */
export async function readKeyLists(database: Database, after: number | undefined): Promise<SignedKeyList[]> {
  try {
    const { rows } = await database.raw<{ rows: SignedKeyList[] }>(
      after === undefined
        ? 'select signed, signatures from key_lists order by version desc limit 1'
        : `select signed, signatures from key_lists where version > ${after} order by version limit ${listsMax}`,
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

export interface DraftTerms {
  readonly threshold: number;
  readonly rootKeys: readonly ListedKey[];
  readonly brokerKeys: readonly ListedKey[];
  /** Manifest keys beside those that the sellers are registered with: of a seller whose key is about to change. */
  readonly sellerKeys: readonly { readonly sellerId: SellerId; readonly key: ListedKey }[];
  /** Ids of keys that are left out: stolen ones. */
  readonly without: readonly string[];
  readonly daysValid: number;
}

/** The text of the next list: every registered seller with its key, and what the terms say. Nothing is written. */
export async function draftKeyList(database: Database, terms: DraftTerms): Promise<string> {
  return await tx(database, async (trx) => {
    const { rows: [clock] } = await trx.raw<{ rows: [{ now: Date }] }>('select clock_timestamp() as now');
    const { rows: sellers } = await trx.raw<{ rows: { seller_id: SellerId; signing_public_key: Buffer }[] }>('select seller_id, signing_public_key from sellers');
    const listed = [
      ...sellers.map((seller) => ({ sellerId: seller.seller_id, key: listedKey(seller.signing_public_key) })), ...terms.sellerKeys,
    ].filter(({ key }) => !terms.without.includes(key.keyId));
    const bySeller = Map.groupBy(listed, ({ sellerId }) => sellerId);
    const list: KeyList = {
      version: (await newestVersion(trx)) + 1, issuedAt: clock.now.getTime(), expiresAt: clock.now.getTime() + terms.daysValid * 86_400_000,
      root: { threshold: terms.threshold, keys: terms.rootKeys }, broker: terms.brokerKeys,
      sellers: [...bySeller].map(([sellerId, of]) => ({ sellerId, keys: [...new Map(of.map(({ key }) => [key.keyId, key])).values()] })),
    };
    const text = serializeKeyList(list);
    parseKeyList(text);
    return text;
  });
}

export const listedKey = (publicKey: Buffer): ListedKey => ({ keyId: keyIdOf(publicKey), publicKey });

/**
 * Publishes a list that follows the newest one: checked as every agent will check it, then stored with its audit row.
 * @throws Failure input INTEGRITY_FAILED
 */
export async function publishKeyList(database: Database, next: SignedKeyList, reason: string): Promise<KeyList> {
  return await tx(database, async (trx) => {
    await trx.raw(`select pg_advisory_xact_lock(hashtextextended('key-lists', 0))`);
    const { rows: [newest] } = await trx.raw<{ rows: SignedKeyList[] }>('select signed, signatures from key_lists order by version desc limit 1');
    const { list } = asInput(() => (newest === undefined ? trustFirst(next) : followKeyLists({ list: parseKeyList(newest.signed), signed: newest.signed }, [next])));
    if (newest?.signed === next.signed) return list;
    await trx.raw('insert into key_lists (version, signed, signatures) values (?, ?, ?)', [list.version, next.signed, JSON.stringify(next.signatures)]);
    await appendAudit(trx, [{
      subjectKind: 'seller', subjectId: 'key-list', action: 'publish', outcome: 'published',
      detail: { version: list.version, reason, expiresAt: new Date(list.expiresAt).toISOString(), signedBy: next.signatures.map(({ key_id }) => key_id) },
    }]);
    return list;
  });
}

/** What is refused here is the operator's to mend, and nothing that lies in the catalogue. */
function asInput<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure('input', error.code, error.message, { cause: error });
  }
}

async function newestVersion(trx: Transaction): Promise<number> {
  const { rows: [row] } = await trx.raw<{ rows: [{ newest: number }] }>('select coalesce(max(version), 0)::bigint as newest from key_lists');
  return row.newest;
}
