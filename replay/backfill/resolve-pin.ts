import { loadCatalogue, type CatalogueEntry } from '../../catalogue/lookup.ts';
import { wantedSet } from '../../delivery/wanted-set.ts';
import type { EffectiveEntitlement } from '../../entitlements/effective.ts';
import { readEntitlements } from '../../entitlements/read-entitlements.ts';
import { tx, type Database } from '../../process/database.ts';
import type { Code } from '../../schemas/codes.ts';
import type { ItemId, OrgId, RuntimeId, WorkspaceId } from '../../schemas/ids.ts';
import type { Pin } from './canary-gate.ts';

/** The release that a workspace of this org would get with this template, or why it would get none. */
export type Resolved = { readonly pin: Pin } | { readonly code: Code };

/** Whom it is asked for. */
export interface PinQuestion {
  readonly workspaceId: WorkspaceId;
  readonly org: OrgId;
  readonly item: ItemId;
  readonly runtime: RuntimeId;
}

/** Answers from the catalogue and the entitlements as they were when they were first asked for. */
export type ResolvePin = (question: PinQuestion) => Promise<Resolved>;

/**
 * A look ahead, by the rule that deliveries resolve by, so that no workspace is tagged with what it could not get and would
 * wait for at its next boot (D3). What is delivered is decided at the chokepoint, as always (C1).
 */
export function createPinResolver(database: Database, thirdPartySellers: boolean): ResolvePin {
  const entries = new Map<ItemId, Promise<CatalogueEntry | undefined>>();
  const entitled = new Map<string, Promise<Map<ItemId, EffectiveEntitlement>>>();
  return async ({ workspaceId, org, item, runtime }) => {
    const entry = await getOrSet(entries, item, async () => (await loadCatalogue(database, [item])).get(item));
    const entitlements = await getOrSet(entitled, `${org} ${item}`, async () => await tx(database, async (trx) => await readEntitlements(trx, org, [item])));
    const wanted = wantedSet({
      workspaceId, template: item, baseline: null, plugins: [], runtime, catalogue: new Map(entry === undefined ? [] : [[item, entry]]), entitlements, held: [], thirdPartySellers,
    });
    const [release] = wanted.items;
    if (release === undefined) return { code: wanted.refusal?.code ?? 'TEMPLATE_UNKNOWN' };
    return { pin: { item, version: release.version, archiveSha256: release.archiveSha256 } };
  };
}

async function getOrSet<K, V>(map: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = map.get(key);
  if (known !== undefined) return await known;
  const made = make();
  map.set(key, made);
  return await made;
}
