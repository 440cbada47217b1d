import { createHash, createPublicKey, verify } from 'node:crypto';

import { Failure } from '../process/failure.ts';
import { FieldError, parseSellerId, type SellerId } from '../schemas/ids.ts';
import { list, record, time, type Parser } from '../schemas/field-parsers.ts';

/** An Ed25519 public key, SPKI DER. Its id is the SHA-256 of these bytes. */
export interface ListedKey {
  readonly keyId: string;
  readonly publicKey: Buffer;
}

/**
 * Which keys may sign what, as the root keys signed it: manifests of each seller, and leases of the broker. Its rules are
 * those of The Update Framework: a threshold, rotation in a chain, no way back, an end.
 */
export interface KeyList {
  readonly version: number;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly root: { readonly threshold: number; readonly keys: readonly ListedKey[] };
  readonly sellers: readonly { readonly sellerId: SellerId; readonly keys: readonly ListedKey[] }[];
  readonly broker: readonly ListedKey[];
}

/** A key list as it travels: the text that was signed, and who signed it. */
export interface SignedKeyList {
  readonly signed: string;
  readonly signatures: readonly { readonly key_id: string; readonly signature: string }[];
}

/** A list that is trusted, with the text that was signed. */
export interface TrustedKeyList {
  readonly list: KeyList;
  readonly signed: string;
}

/** Before the digest, so that nothing else that a root key may sign passes for a list. */
const domain = 'waybill key list v1\n';
const keysMax = 10_000;
const rootKeysMax = 32;

export const keyIdOf = (publicKey: Uint8Array): string => createHash('sha256').update(publicKey).digest('hex');

/** The message of a root key's signature. */
export const keyListMessage = (signed: string): Buffer => Buffer.from(`${domain}${createHash('sha256').update(signed).digest('hex')}`, 'latin1');

/** The one text of a list: fields in this order, no blanks; sellers and keys sorted by their ids. */
export function serializeKeyList({ version, issuedAt, expiresAt, root, sellers, broker }: KeyList): string {
  const keys = (of: readonly ListedKey[]) => of.toSorted(byKeyId).map(({ keyId, publicKey }) => ({ key_id: keyId, public_key: publicKey.toString('base64') }));
  return JSON.stringify({
    format: 1, version, issued_at: new Date(issuedAt).toISOString(), expires_at: new Date(expiresAt).toISOString(),
    root: { threshold: root.threshold, keys: keys(root.keys) },
    sellers: sellers.toSorted((a, b) => (a.sellerId < b.sellerId ? -1 : 1)).map((seller) => ({ seller_id: seller.sellerId, keys: keys(seller.keys) })),
    broker: { keys: keys(broker) },
  });
}

/** Text → list. Strict: what is not exactly what `serializeKeyList` makes is refused. @throws Failure subject INTEGRITY_FAILED */
export function parseKeyList(signed: string): KeyList {
  let parsed: KeyList;
  try {
    const text = fields(JSON.parse(signed), '', 'strict');
    parsed = {
      version: text.version, issuedAt: text.issued_at, expiresAt: text.expires_at, root: text.root, broker: text.broker.keys,
      sellers: text.sellers.map((seller) => ({ sellerId: seller.seller_id, keys: seller.keys })),
    };
  } catch (error) {
    if (error instanceof FieldError || error instanceof SyntaxError) throw refused(error.message);
    throw error;
  }
  if (parsed.root.threshold > parsed.root.keys.length) throw refused('it has fewer root keys than it asks for');
  if (parsed.expiresAt <= parsed.issuedAt) throw refused('it ends before it begins');
  if (serializeKeyList(parsed) !== signed) throw refused('it is not in its canonical form');
  return parsed;
}

/**
 * The first list of a chain, trusted because whoever gives it is: it came with the program, or was trusted before. Its own
 * threshold has to have signed it all the same. @throws Failure subject INTEGRITY_FAILED
 */
export function trustFirst(first: SignedKeyList): TrustedKeyList {
  const own = parseKeyList(first.signed);
  checkThreshold(first, own, 'of its own root keys');
  return { list: own, signed: first.signed };
}

/**
 * From a trusted list along newer ones, oldest first, to the newest: each follows the one before by one version and is signed
 * by the threshold of the root keys of both. What is trusted already may be among them, with the same text. A list that has
 * expired may be passed through; whether the last one has is `checkCurrent`'s question.
 * @throws Failure subject INTEGRITY_FAILED: an older version than the trusted one, a gap, another text under one version, too
 *   few signatures
 */
export function followKeyLists(trusted: TrustedKeyList, newer: readonly SignedKeyList[]): TrustedKeyList {
  return newer.reduce((before, next) => {
    const list = parseKeyList(next.signed);
    if (list.version === before.list.version && next.signed === before.signed) return before;
    if (list.version <= before.list.version) throw refused(`version ${list.version} does not follow version ${before.list.version}: it was given before, or is another list of the same version`);
    if (list.version !== before.list.version + 1) throw refused(`version ${list.version} does not follow version ${before.list.version}: the lists between them are missing`);
    checkThreshold(next, before.list, `of the root keys of version ${before.list.version}`);
    checkThreshold(next, list, 'of its own root keys');
    return { list, signed: next.signed };
  }, trusted);
}

/** Whether anything may be accepted under this list at `now`, milliseconds since the epoch. @throws Failure subject INTEGRITY_FAILED */
export function checkCurrent({ list: { version, expiresAt } }: TrustedKeyList, now: number): void {
  if (now >= expiresAt) throw refused(`version ${version} has expired at ${new Date(expiresAt).toISOString()}; nothing new is accepted before a newer one comes`);
}

/** Keys that may sign manifests of a seller; none for one that the list does not name. */
export const sellerKeys = ({ sellers }: KeyList, sellerId: SellerId): readonly ListedKey[] => sellers.find((seller) => seller.sellerId === sellerId)?.keys ?? [];

/** Signatures of the same key count once; those of strangers and wrong ones count for nothing. */
function checkThreshold({ signed, signatures }: SignedKeyList, { root }: KeyList, whose: string): void {
  const message = keyListMessage(signed);
  const good = new Set(root.keys.filter(({ keyId, publicKey }) => signatures.some(
    ({ key_id, signature }) => key_id === keyId && isSignedBy(message, signature, publicKey),
  )).map(({ keyId }) => keyId));
  if (good.size < root.threshold) throw refused(`it carries ${good.size} signatures ${whose}, and ${root.threshold} are needed`);
}

function isSignedBy(message: Buffer, signature: string, publicKey: Buffer): boolean {
  try {
    return verify(null, message, createPublicKey({ key: publicKey, format: 'der', type: 'spki' }), Buffer.from(signature, 'base64'));
  } catch {
    return false; // bytes that are no key have signed nothing
  }
}

const byKeyId = (a: ListedKey, b: ListedKey): number => (a.keyId < b.keyId ? -1 : 1);

const refused = (reason: string): Failure => new Failure('subject', 'INTEGRITY_FAILED', `The key list is refused: ${reason}`);

const positive: Parser<number> = (value, field) => {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new FieldError(field, 'a positive integer', value);
};

const moment: Parser<number> = (value, field) => {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(at) || new Date(at).toISOString() !== value) throw new FieldError(field, 'a moment like 2027-01-31T00:00:00.000Z', value);
  return time(at, field, 'strict');
};

/** An Ed25519 key under its own id. */
const listedKey: Parser<ListedKey> = (value, field) => {
  const { key_id, public_key } = record<{ key_id: string; public_key: string }>({ key_id: anyText, public_key: anyText })(value, field, 'strict');
  const publicKey = Buffer.from(public_key, 'base64');
  if (publicKey.toString('base64') !== public_key || !isEd25519(publicKey)) throw new FieldError(`${field}.public_key`, 'base64 of an Ed25519 key as SPKI DER', public_key.slice(0, 100));
  if (keyIdOf(publicKey) !== key_id) throw new FieldError(`${field}.key_id`, 'the SHA-256 of its public_key', key_id.slice(0, 100));
  return { keyId: key_id, publicKey };
};

const anyText: Parser<string> = (value, field) => {
  if (typeof value === 'string') return value;
  throw new FieldError(field, 'a text', value);
};

function isEd25519(publicKey: Buffer): boolean {
  try {
    return createPublicKey({ key: publicKey, format: 'der', type: 'spki' }).asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}

const keys = (min: number, max: number): Parser<readonly ListedKey[]> => list(listedKey, { min, max, sortKey: (key) => key.keyId });
const formatOne: Parser<1> = (value, field) => {
  if (value === 1) return 1;
  throw new FieldError(field, '1', value);
};

const fields = record<{
  format: 1; version: number; issued_at: number; expires_at: number;
  root: KeyList['root'];
  sellers: readonly { seller_id: SellerId; keys: readonly ListedKey[] }[];
  broker: { keys: readonly ListedKey[] };
}>({
  format: formatOne, version: positive, issued_at: moment, expires_at: moment,
  root: record<KeyList['root']>({ threshold: positive, keys: keys(1, rootKeysMax) }),
  sellers: list(record<{ seller_id: SellerId; keys: readonly ListedKey[] }>({ seller_id: parseSellerId, keys: keys(1, rootKeysMax) }), { max: keysMax, sortKey: (seller) => seller.seller_id }),
  broker: record<{ keys: readonly ListedKey[] }>({ keys: keys(0, rootKeysMax) }),
});
