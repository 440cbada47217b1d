import type { SignedKeyList } from '../catalogue/key-list.ts';
import type { Kind } from '../catalogue/target-path.ts';
import type { AsideEntry, AsideRecord } from '../delivery/volume/volume-work.ts';
import { isCode, type Code } from '../schemas/codes.ts';
import { boolean, bytes, list, nullable, path, record, symbolOf, type Parser } from '../schemas/field-parsers.ts';
import {
  FieldError, parseCount, parseItemId, parseOrgId, parseRuntimeId, parseSellerId, parseSha256, parseVersion, parseWorkspaceId,
  type ItemId, type OrgId, type RuntimeId, type SellerId, type Sha256, type Version, type WorkspaceId,
} from '../schemas/ids.ts';

/**
 * What the broker answers (docs/guides/agent-protocol.md), parsed before any of it is believed. Fields that this version
 * does not know are ignored. An answer that does not fit throws FieldError.
 */

export const acts = ['none', 'boot', 'stage', 'remove', 'probe', 'discard'] as const;
export type Act = (typeof acts)[number];

/** A release of the wanted set. `manifest` is the text that its seller signed; nothing in it is believed before that was verified. */
export interface WantedItem {
  readonly item_id: ItemId;
  readonly kind: Kind;
  readonly seller_id: SellerId;
  readonly version: Version;
  readonly access: Access;
  readonly archive_sha256: Sha256;
  readonly archive_bytes: number;
  readonly ciphertext_sha256: Sha256;
  readonly ciphertext_bytes: number;
  readonly manifest: string;
  readonly manifest_signature: Buffer;
  readonly target_root: string;
}

export const accesses = ['open', 'platform', 'sold'] as const;
export type Access = (typeof accesses)[number];

/** A file that waybill has, or may have, delivered to this volume. */
export interface ReceiptFile {
  readonly path: string;
  readonly sha256: Sha256;
  readonly item_id: ItemId;
  readonly version: Version;
}

export interface Wanted {
  readonly workspace_id: WorkspaceId;
  readonly org_id: OrgId;
  readonly runtime: RuntimeId;
  readonly epoch: number;
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly server_time: number;
  /** null exactly when there is nothing to do. */
  readonly attempt: number | null;
  readonly act: Act;
  readonly set_digest: Sha256;
  /** With `probe`: which files are to be read. */
  readonly probes: 'all' | 'identity' | null;
  readonly probe_paths: readonly string[];
  readonly items: readonly WantedItem[];
  readonly removal: readonly string[];
  readonly denied: readonly string[];
  readonly adopt: number | null;
  readonly receipts: { readonly files: readonly ReceiptFile[]; readonly directories: readonly string[] };
  readonly known: readonly { readonly path: string; readonly sha256: readonly Sha256[] }[];
  readonly asides: readonly AsideRecord[];
  readonly lease: string | null;
}

/** Permission to fetch one release, once, for at most a minute (C3, C4). */
export interface GrantedItem {
  readonly item_id: ItemId;
  readonly version: Version;
  /** A secret while it lives: never logged. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly ciphertext_sha256: Sha256;
  readonly ciphertext_bytes: number;
  /** JWE to the encryption key of this workspace. */
  readonly data_key: string;
}

/** Instead of what was asked for: forget the attempt and ask what is wanted. */
export interface Overtaken {
  readonly result: 'replan' | 'superseded';
}

export type Granted = Overtaken | { readonly result: 'granted'; readonly items: readonly GrantedItem[] };
export type Permitted = Overtaken | { readonly result: 'granted'; readonly expires_in_ms: number; readonly record: AsideRecord };

export const reportResults = ['ready', 'rejected', 'staged', 'removed', 'discarded', 'drift', 'failed', 'permit_expired', 'replan', 'superseded'] as const;
export interface Reported {
  readonly result: (typeof reportResults)[number];
  readonly code: Code | null;
  readonly may_hold: readonly Sha256[];
}

/** More than any limit of a release allows; they bound what an answer can make the agent hold. */
const itemsMax = 1_000;
const filesMax = 100_000;
const textBytesMax = 64 * 1024 * 1024;

const text: Parser<string> = (value, field) => {
  if (typeof value === 'string' && value.length <= textBytesMax) return value;
  throw new FieldError(field, 'a text', value);
};

/** RFC 3339 → milliseconds since the epoch. */
const moment: Parser<number> = (value, field) => {
  const millis = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(millis)) throw new FieldError(field, 'a time as RFC 3339 writes it', value);
  return millis;
};

const base64: Parser<Buffer> = (value, field) => {
  const read = Buffer.from(text(value, field, 'strict'), 'base64');
  if (read.toString('base64') !== value) throw new FieldError(field, 'base64', value);
  return read;
};

const texts: Parser<Readonly<Record<string, string>>> = (value, field) => {
  if (typeof value !== 'object' || value === null || Object.values(value).some((entry) => typeof entry !== 'string')) {
    throw new FieldError(field, 'an object of texts', value);
  }
  return value as Readonly<Record<string, string>>; // just looked at
};

const sha256s = (max: number): Parser<readonly Sha256[]> => list(parseSha256, { max });
const paths = list(path, { max: filesMax });

const asideRecord = record<AsideRecord>({
  attempt: parseCount,
  entries: list(record<AsideEntry>({ path, ours: sha256s(filesMax), denied: boolean }), { max: filesMax }),
  directories: paths,
  making: paths,
});

const wantedItem = record<WantedItem>({
  item_id: parseItemId,
  kind: symbolOf<Kind>(['template', 'plugin']),
  seller_id: parseSellerId,
  version: parseVersion,
  access: symbolOf(accesses),
  archive_sha256: parseSha256,
  archive_bytes: parseCount,
  ciphertext_sha256: parseSha256,
  ciphertext_bytes: parseCount,
  manifest: text,
  manifest_signature: base64,
  target_root: path,
});

const wanted = record<Wanted>({
  workspace_id: parseWorkspaceId,
  org_id: parseOrgId,
  runtime: parseRuntimeId,
  epoch: parseCount,
  generation: parseCount,
  server_time: moment,
  attempt: nullable(parseCount),
  act: symbolOf(acts),
  set_digest: parseSha256,
  probes: nullable(symbolOf(['all', 'identity'])),
  probe_paths: paths,
  items: list(wantedItem, { max: itemsMax }),
  removal: paths,
  denied: paths,
  adopt: nullable(parseCount),
  receipts: record<Wanted['receipts']>({
    files: list(record<ReceiptFile>({ path, sha256: parseSha256, item_id: parseItemId, version: parseVersion }), { max: filesMax }),
    directories: paths,
  }),
  known: list(record<Wanted['known'][number]>({ path, sha256: sha256s(filesMax) }), { max: filesMax }),
  asides: list(asideRecord, { max: 100 }),
  lease: nullable(text),
}, ({ act, attempt }) => {
  if ((act === 'none') !== (attempt === null)) throw new FieldError('attempt', 'null exactly when act is none', attempt);
});

const grantedItem = record<GrantedItem>({
  item_id: parseItemId, version: parseVersion, url: text, headers: texts,
  ciphertext_sha256: parseSha256, ciphertext_bytes: parseCount, data_key: text,
});

const granted = record<{ items: readonly GrantedItem[] }>({ items: list(grantedItem, { max: itemsMax }) });
const permitted = record<{ expires_in_ms: number; record: AsideRecord }>({ expires_in_ms: bytes, record: asideRecord });

const codeOrNull: Parser<Code | null> = (value, field) => {
  if (value === null || (typeof value === 'string' && isCode(value))) return value;
  throw new FieldError(field, 'a code of the table in schemas/codes.ts, or null', value);
};

const reported = record<Reported>({ result: symbolOf(reportResults), code: codeOrNull, may_hold: sha256s(filesMax) });
const keyLists = record<{ lists: readonly SignedKeyList[] }>({
  lists: list(record<SignedKeyList>({ signed: text, signatures: list(record<SignedKeyList['signatures'][number]>({ key_id: text, signature: text }), { max: 100 }) }), { max: 100 }),
});

export const parseWanted = (value: unknown): Wanted => wanted(value, '', 'tolerant');
export const parseGranted = (value: unknown): Granted => overtaken(value) ?? { result: 'granted', ...granted(value, '', 'tolerant') };
export const parsePermitted = (value: unknown): Permitted => overtaken(value) ?? { result: 'granted', ...permitted(value, '', 'tolerant') };
export const parseReported = (value: unknown): Reported => reported(value, '', 'tolerant');
export const parseKeyLists = (value: unknown): readonly SignedKeyList[] => keyLists(value, '', 'tolerant').lists;

const result = record<{ result: Overtaken['result'] | 'granted' }>({ result: symbolOf(['granted', 'replan', 'superseded']) });

function overtaken(value: unknown): Overtaken | undefined {
  const { result: found } = result(value, '', 'tolerant');
  return found === 'granted' ? undefined : { result: found };
}

/** The time of the server that every answer carries, milliseconds since the epoch; undefined where there is none. */
export function serverTimeOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null || !('server_time' in value)) return undefined;
  return moment(value.server_time, 'server_time', 'tolerant');
}

