import { loadCatalogue, type CatalogueEntry } from '../../catalogue/lookup.ts';
import { wantedSet } from '../../delivery/wanted-set.ts';
import { readEntitlements } from '../../entitlements/read-entitlements.ts';
import { tx, type Database } from '../../process/database.ts';
import type { Code } from '../../schemas/codes.ts';
import type { ItemId, OrgId, RuntimeId } from '../../schemas/ids.ts';
import type { Pin } from './canary-gate.ts';

/** The release that a workspace of this org would get with this template, or why it would get none. */
export type Resolved = { readonly pin: Pin } | { readonly code: Code };

/** Answers from the catalogue and the entitlements as they are now; the same question is asked once. */
export type ResolvePin = (org: OrgId, item: ItemId, runtime: RuntimeId) => Promise<Resolved>;

/**
 * A look ahead, by the rule that deliveries resolve by, so that no workspace is tagged with what it could not get and would
 * wait for at its next boot (D3). What is delivered is decided at the chokepoint, as always (C1).
 */
export function createPinResolver(database: Database, thirdPartySellers: boolean): ResolvePin {
  const entries = new Map<ItemId, Promise<CatalogueEntry | undefined>>();
  const answers = new Map<string, Promise<Resolved>>();
  const entryOf = async (item: ItemId): Promise<CatalogueEntry | undefined> => (await loadCatalogue(database, [item])).get(item);

  const resolve = async (org: OrgId, item: ItemId, runtime: RuntimeId): Promise<Resolved> => {
    const entry = await getOrSet(entries, item, async () => await entryOf(item));
    const entitlements = await tx(database, async (trx) => await readEntitlements(trx, org, [item]));
    const wanted = wantedSet({
      template: item, plugins: [], runtime, catalogue: new Map(entry === undefined ? [] : [[item, entry]]), entitlements, held: [], thirdPartySellers,
    });
    const [release] = wanted.items;
    if (release === undefined) return { code: wanted.refusal?.code ?? 'TEMPLATE_UNKNOWN' };
    return { pin: { item, version: release.version, archiveSha256: release.archiveSha256 } };
  };
  return async (org, item, runtime) => await getOrSet(answers, `${org} ${item} ${runtime}`, async () => await resolve(org, item, runtime));
}

async function getOrSet<K, V>(map: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = map.get(key);
  if (known !== undefined) return await known;
  const made = make();
  map.set(key, made);
  return await made;
}
