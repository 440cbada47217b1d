import { resolveRelease, type Channels, type ReleaseState } from '../catalogue/release.ts';
import { sha256 } from '../catalogue/sha256.ts';
import type { Kind } from '../catalogue/target-path.ts';
import type { EffectiveEntitlement } from '../entitlements/effective.ts';
import type { Code } from '../schemas/codes.ts';
import type { EntitlementEnd } from '../schemas/generated/events.ts';
import type { Channel, ItemId, RuntimeId, SellerId, Sha256, Version, WorkspaceId } from '../schemas/ids.ts';

/** What the catalogue says of one item, as far as a delivery needs it. */
export interface CatalogueEntry extends Channels {
  readonly itemId: ItemId;
  readonly sellerId: SellerId;
  readonly kind: Kind;
  readonly access: 'open' | 'platform' | 'sold';
  readonly runtimes: readonly RuntimeId[];
  readonly releases: ReadonlyMap<Version, ReleaseState & { readonly archiveSha256: Sha256 }>;
}

/** One release that the workspace is to hold. */
export interface WantedItem {
  readonly itemId: ItemId;
  readonly sellerId: SellerId;
  readonly kind: Kind;
  readonly version: Version;
  readonly archiveSha256: Sha256;
}

/** One item that the record asks for and that is not delivered. */
export interface Withheld {
  readonly itemId: ItemId;
  readonly code: Code;
  /** Why its entitlement ended, if that is why it is withheld. */
  readonly ended: EntitlementEnd | null;
}

/** What a workspace should hold now. */
export interface WantedSet {
  /** Sorted by item id. */
  readonly items: readonly WantedItem[];
  readonly setDigest: Sha256;
  /** Sorted by item id. */
  readonly withheld: readonly Withheld[];
  /** The template's row of `withheld`: without its template a workspace is not ready; there is no other identity instead (C13). */
  readonly refusal: Withheld | null;
}

export interface WantedSetInput {
  readonly workspaceId: WorkspaceId;
  readonly template: ItemId | null;
  /** Wanted in place of a template that was cleared; null: there is none, or there never was a template (C6). */
  readonly baseline: ItemId | null;
  readonly plugins: readonly ItemId[];
  readonly runtime: RuntimeId;
  readonly catalogue: ReadonlyMap<ItemId, CatalogueEntry>;
  readonly entitlements: ReadonlyMap<ItemId, EffectiveEntitlement>;
  /** What the workspace holds: a yanked release still resolves where it is held. */
  readonly held: readonly { readonly itemId: ItemId; readonly version: Version }[];
  /** Whether items of sellers other than the platform resolve (C16). */
  readonly thirdPartySellers: boolean;
}

/** The channel of items that need no entitlement, and so have no line to name one. */
export const defaultChannel = 'stable' as Channel;

/**
 * Resolves what the record asks for against the catalogue and the entitlements. Fails closed: what is unknown, of another
 * kind, not for this runtime, not entitled or not approved is withheld with its code, and nothing else takes its place
 * (B1, B3, C5, C10, C13).
 */
export function wantedSet(input: WantedSetInput): WantedSet {
  // A baseline that does not resolve is withheld and refuses nothing: who wants no template boots without one.
  const identity = input.template ?? input.baseline;
  const asked = [
    ...(identity === null ? [] : [{ itemId: identity, kind: 'template' as const }]),
    ...input.plugins.map((itemId) => ({ itemId, kind: 'plugin' as const })),
  ];
  const items: WantedItem[] = [];
  const withheld: Withheld[] = [];
  for (const { itemId, kind } of asked) {
    const resolved = resolveItem(itemId, kind, input);
    if ('code' in resolved) withheld.push(resolved);
    else items.push(resolved);
  }
  items.sort((a, b) => (a.itemId < b.itemId ? -1 : 1));
  withheld.sort((a, b) => (a.itemId < b.itemId ? -1 : 1));
  const refusal = withheld.find((item) => item.itemId === input.template) ?? null;
  return { items, setDigest: setDigest(items), withheld, refusal };
}

function resolveItem(itemId: ItemId, kind: 'template' | 'plugin', input: WantedSetInput): WantedItem | Withheld {
  const refuse = (code: Code, ended: Withheld['ended'] = null): Withheld => ({ itemId, code, ended });
  const entry = input.catalogue.get(itemId);
  if (entry?.kind !== kind) return refuse('TEMPLATE_UNKNOWN');
  if (entry.sellerId !== 'platform' && !input.thirdPartySellers) return refuse('SELLER_NOT_ENABLED');
  if (!entry.runtimes.includes(input.runtime)) return refuse('RUNTIME_MISMATCH');

  const entitlement = input.entitlements.get(itemId);
  if (entry.access === 'sold' && entitlement?.entitled !== true) {
    return refuse('NOT_ENTITLED', entitlement?.reason ?? null);
  }
  const policy = entitlement?.policy ?? defaultChannel;
  const heldVersions = new Set(input.held.filter((held) => held.itemId === itemId).map((held) => held.version));
  const resolution = resolveRelease(policy, entry, entry.releases, { workspaceId: input.workspaceId, heldVersions });
  if (resolution.kind === 'refused') return refuse(resolution.code);
  const { version, archiveSha256 } = resolution.release;
  return { itemId, sellerId: entry.sellerId, kind, version, archiveSha256 };
}

/** Digest over the sorted (item, version, archive digest): equal sets, equal bytes. */
export function setDigest(items: readonly Pick<WantedItem, 'itemId' | 'version' | 'archiveSha256'>[]): Sha256 {
  const lines = items.map((item) => `${item.itemId} ${item.version} ${item.archiveSha256}\n`).toSorted();
  return sha256(lines.join(''));
}
