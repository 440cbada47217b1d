import type { ItemId, RuntimeId } from '../schemas/ids.ts';
import { findRuntime } from '../schemas/runtimes.ts';
import { targetPathBytesMax, targetPathDepthMax } from './limits.ts';
import { targetPath, type Kind } from './target-path.ts';

/** A path that may not be delivered, and why. */
export interface PathFault {
  readonly code: 'PATH_REFUSED' | 'TOO_LARGE';
  readonly path: string;
  readonly reason: string;
}

/** Whose paths are judged: the kind and the runtimes decide the target roots. */
export interface PathOwner {
  readonly kind: Kind;
  readonly itemId: ItemId;
  readonly runtimes: readonly RuntimeId[];
}

/**
 * Names that no release may have as a component at any depth, folded: our own work, a repository that could carry hooks,
 * and what belongs to the workspace and its user alone.
 */
const reserved: Readonly<Record<Kind, ReadonlySet<string>>> = {
  template: new Set(['.waybill', '.git', '.auth_token', '.claude', 'memory.md', 'user.md']),
  plugin: new Set(['.waybill', '.git', '.auth_token']),
};

/** Names that a template may not have right below the config root, folded: where other items live. */
const reservedAtRoot: ReadonlySet<string> = new Set(['plugins']);

/** Control and format characters, lone surrogates, private use, line and paragraph separators: invisible or ambiguous. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;

/**
 * Every path of a release that the policy refuses (B3, C14), one fault a path. The same rules for publishing and for the
 * manifest of a release that is about to be delivered.
 */
export function findPathFaults(owner: PathOwner, paths: readonly string[]): PathFault[] {
  const faults: PathFault[] = [];
  const spellings = new Map<string, Spelling>();
  for (const path of paths) {
    const fault = faultOf(owner, path) ?? twinFault(spellings, path);
    if (fault !== undefined) faults.push(fault);
  }
  return faults;
}

function faultOf(owner: PathOwner, path: string): PathFault | undefined {
  const refuse = (reason: string): PathFault => ({ code: 'PATH_REFUSED', path, reason });
  const components = path.split('/');
  if (path === '') return refuse('it is empty');
  if (components[0] === '') return refuse('it is absolute');
  if (components.includes('')) return refuse('one of its components is empty');
  if (components.some((name) => name === '.' || name === '..')) return refuse('it has a component "." or ".."');
  if (path.includes('\\')) return refuse('it contains a backslash');
  if (unprintable.test(path) || !path.isWellFormed()) return refuse('it contains a control, format or private character');
  if (path !== path.normalize('NFC')) return refuse('it is not in Unicode normal form C');
  const folded = components.map(fold);
  const name = folded.find((component) => reserved[owner.kind].has(component));
  if (name !== undefined) return refuse(`${name} is reserved and never delivered`);
  if (owner.kind === 'template' && folded[0] !== undefined && reservedAtRoot.has(folded[0])) {
    return refuse(`${folded[0]}/ belongs to other items, not to a template`);
  }
  return lengthFault(owner, path);
}

/** Measured with the longest target root that the item may get, so that a release fits every runtime it names. */
function lengthFault(owner: PathOwner, path: string): PathFault | undefined {
  for (const id of owner.runtimes) {
    const runtime = findRuntime(id);
    if (runtime === undefined) continue;
    const target = targetPath(owner.kind, owner.itemId, runtime, path);
    const bytes = new TextEncoder().encode(target).length;
    if (bytes > targetPathBytesMax) {
      return { code: 'TOO_LARGE', path, reason: `its target has ${bytes} bytes, more than ${targetPathBytesMax}` };
    }
    const depth = target.split('/').length;
    if (depth > targetPathDepthMax) {
      return { code: 'TOO_LARGE', path, reason: `its target is ${depth} components deep, more than ${targetPathDepthMax}` };
    }
  }
  return undefined;
}

interface Spelling {
  readonly text: string;
  readonly kind: 'file' | 'folder';
}

/** Two spellings of one name would be one file on some volumes, and a file cannot be a folder too. */
function twinFault(spellings: Map<string, Spelling>, path: string): PathFault | undefined {
  const components = path.split('/');
  for (let length = 1; length <= components.length; length += 1) {
    const text = components.slice(0, length).join('/');
    const kind = length === components.length ? 'file' : 'folder';
    const other = spellings.get(fold(text));
    if (other === undefined) {
      spellings.set(fold(text), { text, kind });
      continue;
    }
    if (other.text !== text) return { code: 'PATH_REFUSED', path, reason: `it differs from ${JSON.stringify(other.text)} only in case or Unicode form` };
    if (kind === 'file' && other.kind === 'file') return { code: 'PATH_REFUSED', path, reason: 'it stands twice' };
    if (kind !== other.kind) return { code: 'PATH_REFUSED', path, reason: `${JSON.stringify(text)} is a file and a folder` };
  }
  return undefined;
}

/** Upper case first, so that `ß` and `ss` fold alike; compatibility forms too, which some file systems join. */
function fold(text: string): string {
  return text.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFC');
}
