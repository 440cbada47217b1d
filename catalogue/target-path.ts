import type { ItemId } from '../schemas/ids.ts';
import type { Runtime } from '../schemas/runtimes.ts';

/** What an item is; decides where its files go and which paths it may have. */
export type Kind = 'template' | 'plugin';

/**
 * The folder of a volume below which all files of an item go, without trailing slash: a template's is the config root of
 * the runtime, a plugin's its own folder. So two items never share a path, and the runtime decides nothing else (C5).
 */
export function targetRoot(kind: Kind, itemId: ItemId, runtime: Pick<Runtime, 'configRoot'>): string {
  return kind === 'template' ? runtime.configRoot : `plugins/${itemId}`;
}

/** A path of a release → the path below the volume's root. */
export function targetPath(kind: Kind, itemId: ItemId, runtime: Pick<Runtime, 'configRoot'>, path: string): string {
  return `${targetRoot(kind, itemId, runtime)}/${path}`;
}
