import { FieldError, parseItemId, parseWorkspaceId, type ItemId, type RuntimeId, type WorkspaceId } from '../../schemas/ids.ts';
import { parseKnownRuntime } from '../../schemas/runtimes.ts';
import { readCsv } from '../run/read-csv.ts';
import { faultOf, type LineFault } from '../run/line-faults.ts';

/** One workspace of the list. `entry`: the second column, an item or the name of a manifest entry. */
export interface ListedWorkspace {
  readonly line: number;
  readonly workspaceId: WorkspaceId;
  readonly entry: string | null;
}

/** An exact recorded mapping: each name leads to one item, and nothing else does. */
export type Mapping =
  | { readonly by: 'entry'; readonly itemOf: ReadonlyMap<string, ItemId> }
  | { readonly by: 'runtime'; readonly itemOf: ReadonlyMap<RuntimeId, ItemId> };

/**
 * The list of workspaces: one full UUID a line, with an item or a manifest entry behind a comma where they differ. A first
 * line `workspace_id[,item|entry]` is a header. A prefix, a name or a pattern is no UUID and is refused with its line, and so
 * is a workspace that is listed with two different items.
 */
export function parseWorkspaceList(text: string): { readonly listed: ListedWorkspace[]; readonly repeats: number; readonly faults: LineFault[] } {
  const { rows, faults } = readCsv(text);
  const byId = new Map<string, ListedWorkspace>();
  let repeats = 0;
  for (const [index, { line, cells }] of rows.entries()) {
    if (index === 0 && cells[0] === 'workspace_id') continue;
    try {
      if (cells.length > 2) throw new FieldError('the line', 'a workspace id and, behind one comma, an item', cells.join(','));
      const listed = { line, workspaceId: parseWorkspaceId(cells[0]), entry: cells[1] ?? null };
      const before = byId.get(listed.workspaceId);
      if (before === undefined) byId.set(listed.workspaceId, listed);
      else if (before.entry === listed.entry) repeats += 1;
      else faults.push({ line, what: `workspace ${listed.workspaceId} is listed with ${shown(before.entry)} in line ${before.line} and with ${shown(listed.entry)} here` });
    } catch (error) {
      faults.push(faultOf(line, error));
    }
  }
  return { listed: [...byId.values()], repeats, faults };
}

const shown = (entry: string | null): string => (entry === null ? 'no item' : JSON.stringify(entry));

/** The mapping: a header `entry,item` or `runtime,item`, then one exact name a line. A name with two items is refused. */
export function parseMapping(text: string): { readonly mapping: Mapping; readonly faults: LineFault[] } {
  const { rows, faults } = readCsv(text);
  const [header] = rows;
  const by = header?.cells[0];
  if ((by !== 'entry' && by !== 'runtime') || header?.cells[1] !== 'item' || header.cells.length !== 2) {
    faults.push({ line: header?.line ?? 1, what: 'the first line should be entry,item or runtime,item' });
    return { mapping: { by: 'entry', itemOf: new Map() }, faults };
  }
  const itemOf = new Map<string, ItemId>();
  for (const { line, cells } of rows.slice(1)) {
    try {
      const [name = '', item] = cells;
      if (cells.length !== 2 || name === '') throw new FieldError('the line', `a name and an item`, cells.join(','));
      if (by === 'runtime') parseKnownRuntime(name);
      const parsed = parseItemId(item, 'item');
      const before = itemOf.get(name);
      if (before !== undefined && before !== parsed) faults.push({ line, what: `${JSON.stringify(name)} is mapped to ${before} above and to ${parsed} here` });
      itemOf.set(name, parsed);
    } catch (error) {
      faults.push(faultOf(line, error));
    }
  }
  // The names of a mapping by runtime were parsed as runtimes above.
  return { mapping: by === 'runtime' ? { by, itemOf: itemOf as Map<RuntimeId, ItemId> } : { by, itemOf }, faults };
}
