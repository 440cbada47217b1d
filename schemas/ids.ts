import { createHash } from 'node:crypto';

/**
 * Identifiers, branded so that one cannot stand where another belongs. A branded value exists only after its parse
 * function has looked at it: nothing from outside becomes a path, a key or a query before that (B1).
 */
declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** The tenant: the control plane's org UUID, lower case. */
export type OrgId = Branded<'OrgId'>;
/** One workspace, UUID, lower case. */
export type WorkspaceId = Branded<'WorkspaceId'>;
/** A template or a plugin: a slug of 1 to 64 characters. */
export type ItemId = Branded<'ItemId'>;
/** Who publishes an item: a slug of 1 to 64 characters. `platform` is seller #0. */
export type SellerId = Branded<'SellerId'>;
/** A purchase, subscription or grant: 1 to 200 printable ASCII characters without blank or slash. */
export type PurchaseId = Branded<'PurchaseId'>;
/** The engine of a workspace: a slug; schemas/runtimes.ts is the allowlist. */
export type RuntimeId = Branded<'RuntimeId'>;
/** Exact version x.y.z of a release, at most 64 characters. */
export type Version = Branded<'Version'>;
/** A named pointer of an item to a release: a slug of 1 to 64 characters. */
export type Channel = Branded<'Channel'>;
/** Which release a line entitles to: a Version (pinned) or a Channel. */
export type Policy = Version | Channel;
/** A full git commit id: 40 or 64 lower-case hex digits. */
export type CommitId = Branded<'CommitId'>;
/** A SHA-256 digest: 64 lower-case hex digits. */
export type Sha256 = Branded<'Sha256'>;

/** A value that its rule refuses: which field, and what it should have been. Each door reports it under its code. */
export class FieldError extends Error {
  override readonly name = 'FieldError';
  readonly field: string;
  /** LONG_OVERFLOW: an integer beyond longMax, which a JSON reader may have rounded. FIELD_INVALID: anything else. */
  readonly code: 'FIELD_INVALID' | 'LONG_OVERFLOW';

  constructor(field: string, expected: string, value: unknown, code: FieldError['code'] = 'FIELD_INVALID') {
    const shown = shortly(value);
    super(`${field} should be ${expected}, but is ${shown}`);
    this.field = field;
    this.code = code;
  }
}

/** Never the whole of an object: a deeply nested one would overflow the stack of whoever writes it out. */
function shortly(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? `a list of ${value.length}` : 'an object';
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  return typeof value === 'number' || typeof value === 'boolean' || value === null ? String(value) : typeof value;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u;
const slug = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/u;
const channel = /^[a-z](?:[a-z0-9-]{0,62}[a-z0-9])?$/u;
const version = /^(?:0|[1-9]\d{0,8})\.(?:0|[1-9]\d{0,8})\.(?:0|[1-9]\d{0,8})$/u;
const purchase = /^[\x21-\x2e\x30-\x7e]{1,200}$/u;
const commit = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/u;
const sha256 = /^[0-9a-f]{64}$/u;

function parser<Id extends string>(pattern: RegExp, expected: string, name: string) {
  return (value: unknown, field: string = name): Id => {
    if (typeof value !== 'string' || !pattern.test(value)) throw new FieldError(field, expected, value);
    return value as Id; // the pattern is what the brand means
  };
}

const aUuid = 'a full lower-case UUID';
const aSlug = 'a slug of lower-case letters, digits and inner hyphens, 1 to 64 characters';

export const parseOrgId = parser<OrgId>(uuid, aUuid, 'org_id');
export const parseWorkspaceId = parser<WorkspaceId>(uuid, aUuid, 'workspace_id');
export const parseEventId = parser<string>(uuid, aUuid, 'event_id');
export const parseItemId = parser<ItemId>(slug, aSlug, 'item_id');
export const parseSellerId = parser<SellerId>(slug, aSlug, 'seller_id');
export const parseRuntimeId = parser<RuntimeId>(slug, aSlug, 'runtime');
export const parseChannel = parser<Channel>(channel, 'the name of a channel: a slug that begins with a letter', 'channel');
export const parseVersion = parser<Version>(version, 'an exact version x.y.z of plain numbers', 'version');
export const parsePurchaseId = parser<PurchaseId>(purchase, '1 to 200 printable characters without blank or slash', 'purchase_id');
export const parseCommitId = parser<CommitId>(commit, 'a full commit id of 40 or 64 lower-case hex digits', 'commit');
export const parseSha256 = parser<Sha256>(sha256, '64 lower-case hex digits', 'sha256');

export const isVersion = (policy: Policy | string): policy is Version => version.test(policy);

/** A policy is a pin when it reads as a version, else a channel name; the two patterns share no text. */
export function parsePolicy(value: unknown, field = 'policy'): Policy {
  if (typeof value === 'string' && version.test(value)) return value as Version;
  if (typeof value === 'string' && channel.test(value)) return value as Channel;
  throw new FieldError(field, 'an exact version x.y.z or the name of a channel', value);
}

/** Greatest number that travels in an event. One less than JSON can hold, because the Avro library stops there. */
export const longMax = 2 ** 53 - 2;

/** Versions, epochs and generations: positive, and exact in every JSON reader. */
export function parseCount(value: unknown, field: string): number {
  return parseInteger(value, field, 1, longMax, 'a positive integer of at most 2^53 - 2');
}

/** An integer within bounds; FieldError says LONG_OVERFLOW when it is beyond `longMax`, which no bound of ours passes. */
export function parseInteger(value: unknown, field: string, min: number, max: number, expected: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  const beyond = typeof value === 'number' && Math.abs(value) > longMax;
  throw new FieldError(field, expected, value, beyond ? 'LONG_OVERFLOW' : 'FIELD_INVALID');
}

/** The id of an event that follows from something: the same cause gives the same id, so a repeat is seen as one (I5). */
export function deriveEventId(type: string, key: string, eventVersion: number): string {
  const hash = createHash('sha256').update(`${type}\n${key}\n${eventVersion}`).digest('hex');
  // RFC 9562 version 8 (vendor-specific) and its variant bits; the SQL function in migrations/ does the same.
  const variant = ((Number.parseInt(hash.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}
