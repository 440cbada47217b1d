import { Failure } from '../process/failure.ts';
import type { ItemId } from '../schemas/ids.ts';

/** What a producer has to know of an item before it names it (B1). */
export interface CatalogueItem {
  readonly kind: 'template' | 'plugin';
  /** The runtimes that it supports. */
  readonly runtimes: readonly string[];
}

/** The catalogue as an allowlist: over HTTP (GET /v1/catalogue/{item}), or over the database where it is at hand. */
export interface CatalogueLookup {
  /** Undefined: there is no such item. Throws Failure('dependency', …) when it cannot be told. */
  findItem(itemId: ItemId): Promise<CatalogueItem | undefined>;
}

/** Items as the catalogue knows them, or refused. Asked before any row is locked: never a network call under a lock. */
export type KnownItems = ReadonlyMap<ItemId, CatalogueItem>;

/** Looks up a template and plugins. TEMPLATE_UNKNOWN (input) for one that is not in the catalogue, or of the other kind. */
export async function findItems(catalogue: CatalogueLookup, template: ItemId | null, plugins: readonly ItemId[]): Promise<KnownItems> {
  const wanted = [...(template === null ? [] : [{ id: template, kind: 'template' }]), ...plugins.map((id) => ({ id, kind: 'plugin' }))];
  return new Map(await Promise.all(wanted.map(async ({ id, kind }) => {
    const item = await catalogue.findItem(id);
    if (item === undefined) throw new Failure('input', 'TEMPLATE_UNKNOWN', `${kind} should be an item of the catalogue, but is ${JSON.stringify(id)}`);
    if (item.kind !== kind) throw new Failure('input', 'TEMPLATE_UNKNOWN', `${kind} should be a ${kind} of the catalogue, but ${JSON.stringify(id)} is a ${item.kind}`);
    return [id, item] as const;
  })));
}

/** RUNTIME_MISMATCH (input) when an item does not support the runtime (C5). */
export function checkRuntime(items: KnownItems, runtime: string): void {
  for (const [id, { runtimes }] of items) {
    if (!runtimes.includes(runtime)) {
      throw new Failure('input', 'RUNTIME_MISMATCH', `${JSON.stringify(id)} supports ${runtimes.join(', ')}, but the workspace runs ${runtime}`);
    }
  }
}
