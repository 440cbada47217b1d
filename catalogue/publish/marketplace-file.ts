import { checkInput } from '../../producers/check-input.ts';
import { Failure } from '../../process/failure.ts';
import { FieldError } from '../../schemas/ids.ts';
import { parseFolder } from './pin.ts';

/** Where a marketplace lists its plugins, below its root. */
export const marketplaceFile = '.claude-plugin/marketplace.json';

/** One plugin of a marketplace, as far as it can be read: the fault of one is no fault of the others. */
export type ListedPlugin = { readonly name: string } & (
  | { readonly kind: 'readable'; readonly plugin: PluginEntry }
  | { readonly kind: 'refused'; readonly failure: Failure }
);

export interface PluginEntry {
  /** Folder in the repository; '' is its root. */
  readonly path: string;
  /** The parts below the folder that make the plugin; undefined: all of it. */
  readonly only: readonly string[] | undefined;
  readonly version: string | undefined;
}

/** More are no marketplace that one command should publish. */
const pluginsMax = 1_000;

/** Parts of a plugin that an entry may list by path. */
const listedParts = ['skills', 'commands', 'agents', 'hooks', 'mcpServers', 'lspServers', 'outputStyles'] as const;

type Fields = Readonly<Record<string, unknown>>;

/**
 * The bytes of a marketplace.json → its plugins, in its order.
 * @param root folder of the marketplace in the repository; sources are relative to it
 * @throws Failure input MANIFEST_INVALID when the file as a whole cannot be read
 */
export function parseMarketplace(bytes: Uint8Array, root: string): ListedPlugin[] {
  const marketplace = parseObject(bytes);
  const plugins = marketplace['plugins'];
  if (!Array.isArray(plugins)) throw invalid('it has no list of plugins');
  if (plugins.length > pluginsMax) throw invalid(`it lists ${plugins.length} plugins, more than ${pluginsMax}`);
  const metadata = marketplace['metadata'];
  const pluginRoot = isFields(metadata) && typeof metadata['pluginRoot'] === 'string' ? metadata['pluginRoot'] : '';
  const seen = new Set<string>();
  return plugins.map((entry: unknown, i): ListedPlugin => {
    const name = isFields(entry) && typeof entry['name'] === 'string' && entry['name'] !== '' ? entry['name'].slice(0, 200) : `plugins[${i}]`;
    try {
      if (!isFields(entry)) throw new Failure('input', 'FIELD_INVALID', `plugins[${i}] should be an object`);
      if (seen.has(name)) throw new Failure('input', 'MANIFEST_INVALID', `${marketplaceFile} lists ${JSON.stringify(name)} twice: give one of them another name`);
      seen.add(name);
      return { name, kind: 'readable', plugin: checkInput(() => parseEntry(entry, root, pluginRoot)) };
    } catch (error) {
      if (error instanceof Failure) return { name, kind: 'refused', failure: error };
      throw error;
    }
  });
}

function parseEntry(entry: Fields, root: string, pluginRoot: string): PluginEntry {
  const { source, version } = entry;
  if (typeof source !== 'string') {
    throw new Failure('input', 'FIELD_INVALID', 'source: the plugin lies in another repository; publish it from there, by its own commit');
  }
  if (version !== undefined && typeof version !== 'string') throw new FieldError('version', 'a text', version);
  const path = joinFolders(root, pluginRoot, source);
  // With strict off the entry is all that says what belongs to the plugin; its folder may hold others too.
  const parts = entry['strict'] === false ? listedParts.flatMap((part) => pathsOf(entry, part)) : [];
  refuseInline(entry);
  return { path, only: parts.length === 0 || parts.includes('') ? undefined : parts, version };
}

function pathsOf(entry: Fields, part: string): string[] {
  const value = entry[part];
  if (value === undefined || isFields(value)) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((path) => !isFields(path)).map((path) => parseRelative(path, part));
}

/** What is defined in marketplace.json itself is in no file, so a delivery would silently lack it. */
function refuseInline(entry: Fields): void {
  const inline = listedParts.find((part) => [entry[part]].flat().some(isFields));
  if (inline !== undefined) {
    throw new Failure('input', 'MANIFEST_INVALID', `${inline}: defined in ${marketplaceFile}, which is not delivered; put it into a file of the plugin`);
  }
}

function joinFolders(...parts: readonly string[]): string {
  return parts.map((part) => parseRelative(part, 'source')).filter((part) => part !== '').join('/');
}

/** `./a/b/` → `a/b`. Never out of the folder that it is relative to. */
function parseRelative(value: unknown, field: string): string {
  return parseFolder(typeof value === 'string' ? value.replace(/^\.\/+/u, '') : value, field);
}

function parseObject(bytes: Uint8Array): Fields {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (isFields(value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalid('it is not JSON', error);
  }
  throw invalid('it is not an object');
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(reason: string, cause?: unknown): Failure {
  return new Failure('input', 'MANIFEST_INVALID', `${marketplaceFile} cannot be used: ${reason}`, { cause });
}
