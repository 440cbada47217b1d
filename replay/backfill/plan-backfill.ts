import { findItem } from '../../catalogue/lookup.ts';
import { Failure } from '../../process/failure.ts';
import type { Code } from '../../schemas/codes.ts';
import { FieldError, parseItemId, type ItemId, type RuntimeId, type WorkspaceId } from '../../schemas/ids.ts';
import { insertPlan, type Run, type RunItem } from '../run/runs.ts';
import type { Controls } from '../run/throttle.ts';
import type { BackfillDeps } from './backfill-deps.ts';
import { type ListedWorkspace, type Mapping } from './backfill-input.ts';
import { refuseFaults, type LineFault } from '../run/line-faults.ts';
import { pinName, type Pin } from './canary-gate.ts';
import { listUntagged, loadWorkspaces, type WorkspaceRow } from './control-plane-rows.ts';
import { judgeIdentity, type IdentityFile, type IdentityVerdict, type Standing } from './identity.ts';
import { identityPathsOf, loadKnownFiles, type DeliveredFile, type KnownFiles } from './known-identities.ts';
import { createPinResolver, type ResolvePin } from './resolve-pin.ts';
import { decideTag } from './tag-verdict.ts';

/** What to tag with what. Exactly one of `item` and `mapping`, or an item in every line of the list. */
export interface BackfillRequest {
  readonly listed?: { readonly listed: readonly ListedWorkspace[]; readonly repeats: number; readonly faults: readonly LineFault[] };
  readonly item?: string | undefined;
  readonly mapping?: { readonly mapping: Mapping; readonly faults: readonly LineFault[] };
  readonly reason: string;
  readonly controls?: Partial<Controls>;
}

/** The plan of a backfill as a whole. */
export interface BackfillPlan {
  readonly items: readonly { readonly item: ItemId; readonly catalogueVersion: number }[];
  /** The releases that it leads to; each needs a verified canary before the fleet (D4). */
  readonly pins: readonly Pin[];
  /** Lines that say what another said. */
  readonly repeats: number;
}

/** The plan of one workspace. */
export interface TagPlan {
  readonly item: ItemId;
  readonly runtime: RuntimeId;
  /** Null: it is not tagged. */
  readonly pin: Pin | null;
  readonly status: WorkspaceRow['status'];
  readonly epoch: number;
  /** The identity present before (D3). */
  readonly identity: readonly IdentityFile[];
  readonly verdict: IdentityVerdict['kind'] | null;
  /** What the delivery would do: files written where none is, ours already, and the user's, which stay. */
  readonly files: { readonly absent: number; readonly adopted: number; readonly same: number; readonly users: number; readonly usersPaths: readonly string[] } | null;
}

/** Workspaces looked at together. */
const pageSize = 500;
/** Paths of the user's files that a plan names for a workspace. */
const usersPathsMax = 10;

/**
 * Looks at every workspace of the input and stores what would be done; changes nothing (D3). Everything that is wrong with the
 * input is refused with its line, all at once, before anything is stored.
 * @throws Failure input FIELD_INVALID, NOT_FOUND (nothing to do), IDENTITY_MISMATCH (the identity present contradicts)
 */
export async function planBackfill(deps: BackfillDeps, request: BackfillRequest): Promise<Run> {
  refuseFaults('The mapping', request.mapping?.faults ?? []);
  const catalogue = new Map<ItemId, CatalogueItem | undefined>();
  const listed = request.listed ?? await listedByRuntime(deps, request.mapping?.mapping);
  const faults: LineFault[] = [...listed.faults];
  const contradictions: LineFault[] = [];
  const items: RunItem[] = [];
  const resolve = createPinResolver(deps.database, deps.thirdPartySellers);
  const known = new Map<RuntimeId, KnownFiles>();
  for (let from = 0; from < listed.listed.length; from += pageSize) {
    const page = listed.listed.slice(from, from + pageSize);
    const rows = await loadWorkspaces(deps.controlPlane, page.map(({ workspaceId }) => workspaceId));
    for (const one of page) {
      const row = rows.get(one.workspaceId);
      const mapped = row === undefined ? 'there is no such workspace' : itemFor(one, row, request);
      if (row === undefined || mapped instanceof FieldError || mapped === 'there is no such workspace') {
        faults.push({ line: one.line, what: mapped instanceof FieldError ? mapped.message : `workspace ${one.workspaceId}: there is no such workspace` });
        continue;
      }
      const fault = await faultOfItem(deps, catalogue, mapped, row);
      if (fault !== undefined) faults.push({ line: one.line, what: `workspace ${one.workspaceId}: ${fault}` });
      if (faults.length > 0) continue;
      if (!known.has(row.runtime)) known.set(row.runtime, await loadKnownFiles(deps.database, row.runtime));
      const planned = await planWorkspace(deps, { line: one.line, row, item: mapped, resolve, known: known.get(row.runtime) });
      if (planned.contradiction !== undefined) contradictions.push({ line: one.line, what: planned.contradiction });
      items.push(planned.item);
    }
  }
  refuseFaults('The list', faults);
  refuseFaults('The list', contradictions, 'IDENTITY_MISMATCH');
  if (items.length === 0) throw new Failure('input', 'NOT_FOUND', 'There is no workspace to look at: the list is empty, or no workspace without a template has these runtimes.');
  const plans = items.map(({ plan }) => plan as TagPlan); // made above
  const pins = new Map(plans.flatMap(({ pin }) => (pin === null ? [] : [[pinName(pin), pin] as const])));
  const plan: BackfillPlan = {
    items: [...catalogue].flatMap(([item, entry]) => (entry === undefined ? [] : [{ item, catalogueVersion: entry.catalogueVersion }])),
    pins: [...pins.values()], repeats: listed.repeats,
  };
  return await insertPlan(deps.database, { kind: 'backfill', reason: request.reason, plan, total: items.length, items, ...(request.controls !== undefined && { controls: request.controls }) });
}

type CatalogueItem = NonNullable<Awaited<ReturnType<typeof findItem>>>;

/** Without a list: every workspace that has no template and exactly a mapped runtime. Lines count from 1 in the order of ids. */
async function listedByRuntime(deps: BackfillDeps, mapping: Mapping | undefined): Promise<NonNullable<BackfillRequest['listed']>> {
  if (mapping?.by !== 'runtime') throw new Failure('input', 'FIELD_INVALID', 'Which workspaces? Give a list, or a mapping by runtime');
  const ids = await listUntagged(deps.controlPlane, [...mapping.itemOf.keys()]);
  return { listed: ids.map((workspaceId, index) => ({ line: index + 1, workspaceId, entry: null })), repeats: 0, faults: [] };
}

/** The item of one line: the one of the command, of the line, or what the mapping has for exactly its entry or runtime. */
function itemFor({ entry }: ListedWorkspace, row: WorkspaceRow, { item, mapping }: BackfillRequest): ItemId | FieldError {
  try {
    if (mapping === undefined) {
      if (item !== undefined && entry !== null && entry !== item) return new FieldError('the item of the line', `${item}, as the command says`, entry);
      return parseItemId(entry ?? item, 'item');
    }
    const { by, itemOf } = mapping.mapping;
    if (by === 'runtime' && entry !== null) return new FieldError('the line', 'a workspace id alone, because the mapping goes by runtime', entry);
    const mapped = by === 'runtime' ? itemOf.get(row.runtime) : itemOf.get(entry ?? '');
    return mapped ?? new FieldError(by, 'one that the mapping has', by === 'runtime' ? row.runtime : entry ?? undefined);
  } catch (error) {
    if (error instanceof FieldError) return error;
    throw error;
  }
}

async function faultOfItem(deps: BackfillDeps, catalogue: Map<ItemId, CatalogueItem | undefined>, item: ItemId, row: WorkspaceRow): Promise<string | undefined> {
  if (!catalogue.has(item)) catalogue.set(item, await findItem(deps.database, item));
  const entry = catalogue.get(item);
  if (entry === undefined) return `TEMPLATE_UNKNOWN: ${JSON.stringify(item)} is not in the catalogue`;
  if (entry.kind !== 'template') return `TEMPLATE_UNKNOWN: ${JSON.stringify(item)} is a ${entry.kind}, not a template`;
  if (row.template === null && !entry.runtimes.includes(row.runtime)) return `RUNTIME_MISMATCH: ${item} supports ${entry.runtimes.join(', ')}, but the workspace runs ${row.runtime}`;
  return undefined;
}

interface Planning {
  readonly line: number;
  readonly row: WorkspaceRow;
  readonly item: ItemId;
  readonly resolve: ResolvePin;
  readonly known: KnownFiles | undefined;
}

async function planWorkspace(deps: BackfillDeps, { line, row, item, resolve, known }: Planning): Promise<{ item: RunItem; contradiction?: string }> {
  const leave = (state: RunItem['state'], code: Code | null, more: Partial<TagPlan> = {}): RunItem => ({
    line, subject: row.workspaceId, orgId: row.orgId, state, code, result: {},
    plan: { item, runtime: row.runtime, pin: null, status: row.status, epoch: row.epoch, identity: [], verdict: null, files: null, ...more } satisfies TagPlan,
  });
  const verdict = decideTag(row, { item, runtime: row.runtime });
  if (verdict.act === 'leave') return { item: leave(verdict.state, verdict.code) };
  const resolved = await resolve({ workspaceId: row.workspaceId, org: row.orgId, item, runtime: row.runtime });
  if ('code' in resolved || known === undefined) return { item: leave('skipped', 'code' in resolved ? resolved.code : 'RUNTIME_UNKNOWN') };
  if (row.deliveryMode !== 'volume') return { item: leave('skipped', 'UNSUPPORTED_VOLUME') };

  const files = await known.filesOf(item, resolved.pin.version);
  const paths = identityPathsOf(row.runtime);
  let standing: ReadonlyMap<string, Standing>;
  try {
    standing = await deps.readDigests(row.workspaceId, [...new Set([...paths, ...files.map(({ path }) => path)])]);
  } catch (error) {
    if (error instanceof Failure && error.kind === 'subject') return { item: leave('skipped', error.code) };
    throw error;
  }
  const identity = paths.map((path): IdentityFile => ({ path, standing: standing.get(path) ?? 'missing' }));
  const judged = judgeIdentity(item, identity, known.ownersOf);
  const { counts, conflicts } = compareFiles(files, standing, known);
  const seen = { identity, verdict: judged.kind, files: counts };
  if (judged.kind === 'contradicts') {
    const whose = judged.owners.length === 0 ? "the runtime's own" : judged.owners.join(' or ');
    return { item: leave('skipped', 'IDENTITY_MISMATCH', seen), contradiction: `workspace ${row.workspaceId} has the identity of ${whose} at ${judged.path}, not of ${item}` };
  }
  // Tagged all the same, its next boot would keep the user's file and wait for ever (C8).
  if (judged.kind === 'users' || conflicts) return { item: leave('skipped', 'CONFLICT', seen) };
  return { item: { ...leave('planned', null, { ...seen, pin: resolved.pin }) } };
}

/** What the delivery of the release would find: adopted is what counts as ours and is replaced (C8). */
function compareFiles(
  files: readonly DeliveredFile[], standing: ReadonlyMap<string, Standing>, { isBaseline }: KnownFiles,
): { readonly counts: NonNullable<TagPlan['files']>; readonly conflicts: boolean } {
  let [absent, adopted, same] = [0, 0, 0];
  const users: DeliveredFile[] = [];
  for (const file of files) {
    const found = standing.get(file.path) ?? 'missing';
    if (found === 'missing') absent += 1;
    else if (found === file.sha256) same += 1;
    else if (found !== 'not-regular' && found !== 'too-large' && isBaseline(file.path, found)) adopted += 1;
    else users.push(file);
  }
  return {
    counts: { absent, adopted, same, users: users.length, usersPaths: users.slice(0, usersPathsMax).map(({ path }) => path) },
    conflicts: users.some(({ identity }) => identity),
  };
}

/** Reads the identity of a workspace as it is now. @throws as readDigests */
export async function readIdentity(deps: BackfillDeps, workspaceId: WorkspaceId, runtime: RuntimeId): Promise<IdentityFile[]> {
  const paths = identityPathsOf(runtime);
  const standing = await deps.readDigests(workspaceId, paths);
  return paths.map((path) => ({ path, standing: standing.get(path) ?? 'missing' }));
}
