import { checkInput } from '../../producers/check-input.ts';
import { Failure } from '../../process/failure.ts';
import { FieldError, parseChannel, parseItemId, parseSellerId, parseVersion, type Channel, type ItemId, type RuntimeId, type SellerId, type Version } from '../../schemas/ids.ts';
import { parseKnownRuntime } from '../../schemas/runtimes.ts';
import type { Access, CatalogueItem } from '../lookup.ts';
import type { Kind } from '../target-path.ts';
import { describingFiles, type Description } from './describe.ts';
import { parseFolder, parsePinnedCommit, type Pin } from './pin.ts';

/** What a publisher asks for, as it came. */
export interface PublishRequest {
  /** A git directory or an https URL. */
  readonly repository: string;
  readonly commit: string;
  /** Folder in the repository; '' or '.' is its root. */
  readonly path: string;
  /** Nothing but these paths below the folder; undefined: all of it. */
  readonly only?: readonly string[] | undefined;
  readonly seller: string;
  /** Default of item, kind and version: what the folder says of itself. */
  readonly item?: string | undefined;
  readonly kind?: string | undefined;
  readonly version?: string | undefined;
  /** For a folder that says no version either. */
  readonly versionOtherwise?: string | undefined;
  /** Default: what the item has, `sold` for a new one. */
  readonly access?: string | undefined;
  /** Default: what the item has; a new one needs them. */
  readonly runtimes?: readonly string[] | undefined;
  /** Approve the release at once. */
  readonly approve?: boolean | undefined;
  /** Point this channel to it. */
  readonly channel?: string | undefined;
}

/** A request whose own fields are well-formed; what is undefined the folder has to say. */
export interface OpenRequest {
  readonly pin: Pin;
  readonly only: readonly string[] | undefined;
  readonly sellerId: SellerId;
  readonly itemId: ItemId | undefined;
  readonly kind: Kind | undefined;
  readonly version: Version | undefined;
  readonly versionOtherwise: Version | undefined;
  readonly access: Access | undefined;
  /** Sorted, without repeats. */
  readonly runtimes: readonly RuntimeId[] | undefined;
  readonly approve: boolean;
  readonly channel: Channel | undefined;
}

export interface ParsedRequest extends OpenRequest {
  readonly itemId: ItemId;
  readonly kind: Kind;
  readonly version: Version;
}

/** Whose items may be `platform`: delivered to every org without an entitlement. */
const platformSeller = 'platform';

/** @throws Failure input FIELD_INVALID, RUNTIME_UNKNOWN, PIN_UNMERGED: which field, and what it should be */
export function parseRequest(request: PublishRequest): OpenRequest {
  const commit = parsePinnedCommit(request.commit);
  return checkInput(() => {
    const sellerId = parseSellerId(request.seller, 'seller');
    const access = parseAccess(request.access);
    if (access === 'platform' && sellerId !== platformSeller) throw new FieldError('access', `open or sold for the seller ${sellerId}: platform is for items of ${platformSeller}`, access);
    return {
      pin: { repository: request.repository, commit, path: parseFolder(request.path) },
      only: request.only,
      sellerId,
      itemId: request.item === undefined ? undefined : parseItemId(request.item, 'item'),
      kind: request.kind === undefined ? undefined : parseKind(request.kind),
      version: request.version === undefined ? undefined : parseVersion(request.version),
      versionOtherwise: request.versionOtherwise === undefined ? undefined : parseVersion(request.versionOtherwise),
      access,
      runtimes: request.runtimes === undefined || request.runtimes.length === 0 ? undefined : parseRuntimes(request.runtimes),
      approve: request.approve ?? false,
      channel: request.channel === undefined ? undefined : parseChannel(request.channel),
    };
  });
}

/**
 * The request with what the folder says of itself in the place of what was not asked for. What was asked for goes first.
 * @throws Failure input FIELD_INVALID: neither says it, or what the folder says is no name or version of ours
 */
export function completeRequest(request: OpenRequest, described: Description | undefined): ParsedRequest {
  return checkInput(() => {
    const kind = request.kind ?? (described === undefined ? undefined : 'plugin');
    if (kind === undefined) throw lacking('kind');
    const said = <T>(field: 'name' | 'version', parse: (value: unknown, name: string) => T): T | undefined =>
      (described?.[field] === undefined ? undefined : parse(described[field], `${field} in ${described.file}`));
    const itemId = request.itemId ?? said('name', parseItemId);
    if (itemId === undefined) throw lacking('item');
    const version = request.version ?? said('version', parseVersion) ?? request.versionOtherwise;
    if (version === undefined) throw lacking('version');
    return { ...request, kind, itemId, version };
  });
}

const lacking = (option: string): Failure => new Failure('input', 'FIELD_INVALID',
  `${option}: say it with --${option}; the folder has no ${describingFiles.join(', ')} that does`);

function parseKind(value: string): Kind {
  if (value !== 'template' && value !== 'plugin') throw new FieldError('kind', 'template or plugin', value);
  return value;
}

function parseAccess(value: string | undefined): Access | undefined {
  if (value === undefined || value === 'open' || value === 'platform' || value === 'sold') return value;
  throw new FieldError('access', 'open, platform or sold', value);
}

function parseRuntimes(values: readonly string[]): RuntimeId[] {
  try {
    return [...new Set(values.map((value) => parseKnownRuntime(value)))].toSorted();
  } catch (error) {
    if (error instanceof FieldError) throw new Failure('input', 'RUNTIME_UNKNOWN', error.message, { cause: error });
    throw error;
  }
}

/** What an item is, whether it is there already or comes with its first release. */
export type ItemTerms = Omit<CatalogueItem, 'catalogueVersion'>;

/**
 * The item that a release is for: as registered, or as asked when it is new. An item keeps what it was registered as.
 * @throws Failure input CONFLICT (it is another seller's, or registered otherwise), FIELD_INVALID (a new item without runtimes)
 */
export function decideItem(known: CatalogueItem | undefined, request: ParsedRequest): ItemTerms {
  const { itemId, sellerId, kind } = request;
  if (known === undefined) {
    if (request.runtimes === undefined) throw new Failure('input', 'FIELD_INVALID', `runtimes: ${itemId} is new, so say which runtimes it supports`);
    return { itemId, sellerId, kind, access: request.access ?? 'sold', runtimes: request.runtimes };
  }
  const conflict = (what: string, is: string, asked: string): Failure =>
    new Failure('input', 'CONFLICT', `${itemId} is registered with the ${what} ${is}, not ${asked}`, {
      cure: `Publish under another item, or leave the ${what} out.`,
    });
  if (known.sellerId !== sellerId) throw conflict('seller', known.sellerId, sellerId);
  if (known.kind !== kind) throw conflict('kind', known.kind, kind);
  if (request.access !== undefined && request.access !== known.access) throw conflict('access', known.access, request.access);
  if (request.runtimes !== undefined && request.runtimes.join() !== known.runtimes.join()) {
    throw conflict('runtimes', known.runtimes.join(', '), request.runtimes.join(', '));
  }
  return { itemId, sellerId, kind, access: known.access, runtimes: known.runtimes };
}
