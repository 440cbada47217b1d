import { checkInput } from '../../producers/check-input.ts';
import { Failure } from '../../process/failure.ts';
import { FieldError, parseChannel, parseItemId, parseSellerId, parseVersion, type Channel, type ItemId, type RuntimeId, type SellerId, type Version } from '../../schemas/ids.ts';
import { parseKnownRuntime } from '../../schemas/runtimes.ts';
import type { Access, CatalogueItem } from '../lookup.ts';
import type { Kind } from '../target-path.ts';
import { parseFolder, parsePinnedCommit, type Pin } from './pin.ts';

/** What a publisher asks for, as it came. */
export interface PublishRequest {
  /** A git directory or an https URL. */
  readonly repository: string;
  readonly commit: string;
  /** Folder in the repository; '' or '.' is its root. */
  readonly path: string;
  readonly seller: string;
  readonly item: string;
  readonly kind: string;
  readonly version: string;
  /** Default: what the item has, `sold` for a new one. */
  readonly access?: string | undefined;
  /** Default: what the item has; a new one needs them. */
  readonly runtimes?: readonly string[] | undefined;
  /** Approve the release at once. */
  readonly approve?: boolean | undefined;
  /** Point this channel to it. */
  readonly channel?: string | undefined;
}

export interface ParsedRequest {
  readonly pin: Pin;
  readonly sellerId: SellerId;
  readonly itemId: ItemId;
  readonly kind: Kind;
  readonly version: Version;
  readonly access: Access | undefined;
  /** Sorted, without repeats. */
  readonly runtimes: readonly RuntimeId[] | undefined;
  readonly approve: boolean;
  readonly channel: Channel | undefined;
}

/** Whose items may be `platform`: delivered to every org without an entitlement. */
const platformSeller = 'platform';

/** @throws Failure input FIELD_INVALID, RUNTIME_UNKNOWN, PIN_UNMERGED: which field, and what it should be */
export function parseRequest(request: PublishRequest): ParsedRequest {
  const commit = parsePinnedCommit(request.commit);
  return checkInput(() => {
    const sellerId = parseSellerId(request.seller, 'seller');
    const access = parseAccess(request.access);
    if (access === 'platform' && sellerId !== platformSeller) throw new FieldError('access', `open or sold for the seller ${sellerId}: platform is for items of ${platformSeller}`, access);
    return {
      pin: { repository: request.repository, commit, path: parseFolder(request.path) },
      sellerId,
      itemId: parseItemId(request.item, 'item'),
      kind: parseKind(request.kind),
      version: parseVersion(request.version),
      access,
      runtimes: request.runtimes === undefined || request.runtimes.length === 0 ? undefined : parseRuntimes(request.runtimes),
      approve: request.approve ?? false,
      channel: request.channel === undefined ? undefined : parseChannel(request.channel),
    };
  });
}

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
    new Failure('input', 'CONFLICT', `${itemId} is registered with the ${what} ${is}, not ${asked}: publish under another item, or leave the ${what} out`);
  if (known.sellerId !== sellerId) throw conflict('seller', known.sellerId, sellerId);
  if (known.kind !== kind) throw conflict('kind', known.kind, kind);
  if (request.access !== undefined && request.access !== known.access) throw conflict('access', known.access, request.access);
  if (request.runtimes !== undefined && request.runtimes.join() !== known.runtimes.join()) {
    throw conflict('runtimes', known.runtimes.join(', '), request.runtimes.join(', '));
  }
  return { itemId, sellerId, kind, access: known.access, runtimes: known.runtimes };
}
