import { appendAudit } from '../process/audit.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { parseItemId, type ItemId, type RuntimeId, type Sha256 } from '../schemas/ids.ts';
import { findItem } from './lookup.ts';
import { findPathFaults, type PathFault } from './path-policy.ts';

/** A file that the platform wrote, by its path below the config root of a runtime. */
export interface BaselineFile {
  readonly path: string;
  readonly sha256: Sha256;
}

export interface RecordedBaseline {
  /** Files that were not on record before. */
  readonly recorded: number;
  readonly known: number;
  /** Paths that no release may have: they stay the user's, whoever wrote them. */
  readonly refused: readonly PathFault[];
}

/** Only to be judged by the rules for templates: a baseline is no item. */
const asTemplate = parseItemId('baseline');

/**
 * Records files as the platform's own, for ever: a workspace may hold what an old image wrote. What belongs to the
 * workspace and its user alone (MEMORY.md, .auth_token, …) is never recorded, so it is never adopted (C8). `itemId`: the
 * template whose identity these files were, so that a backfill can tell whom it has before it (D3).
 * @throws Failure input FIELD_INVALID (a blank reason, no files), TEMPLATE_UNKNOWN
 */
export async function recordBaseline(
  database: Database,
  { runtime, files, reason, itemId }: { readonly runtime: RuntimeId; readonly files: readonly BaselineFile[]; readonly reason: string; readonly itemId?: ItemId | undefined },
): Promise<RecordedBaseline> {
  if (reason.trim() === '') throw new Failure('input', 'FIELD_INVALID', 'reason should say why, but is blank');
  if (files.length === 0) throw new Failure('input', 'FIELD_INVALID', 'There is no file in the folder: name the config root as the platform leaves it');
  if (itemId !== undefined && (await findItem(database, itemId))?.kind !== 'template') {
    throw new Failure('input', 'TEMPLATE_UNKNOWN', `item should be a template of the catalogue, but is ${JSON.stringify(itemId)}`);
  }
  const refused = findPathFaults({ kind: 'template', itemId: asTemplate, runtimes: [runtime] }, files.map((file) => file.path));
  const names = new Set(refused.map((fault) => fault.path));
  const accepted = files.filter((file) => !names.has(file.path));
  return await tx(database, async (trx) => {
    const { rowCount: recorded } = await trx.raw<{ rowCount: number }>(
      `insert into baselines (runtime, path, sha256) select ?, path, sha256 from unnest(?::text[], ?::text[]) as file(path, sha256)
       order by path, sha256 on conflict do nothing`,
      [runtime, accepted.map((file) => file.path), accepted.map((file) => file.sha256)],
    );
    if (itemId !== undefined) {
      await trx.raw(
        `insert into baseline_items (runtime, path, sha256, item_id) select ?, path, sha256, ? from unnest(?::text[], ?::text[]) as file(path, sha256)
         order by path, sha256 on conflict do nothing`,
        [runtime, itemId, accepted.map((file) => file.path), accepted.map((file) => file.sha256)],
      );
    }
    await appendAudit(trx, [{
      subjectKind: 'item', subjectId: `baseline:${runtime}`, action: 'baseline', outcome: recorded > 0 ? 'recorded' : 'unchanged',
      detail: { reason, recorded, files: accepted.length, refused: refused.length, ...(itemId !== undefined && { item: itemId }) },
    }]);
    return { recorded, known: accepted.length - recorded, refused };
  });
}

/** What the platform wrote for a runtime before waybill existed. */
export async function loadBaseline(trx: Transaction, runtime: RuntimeId): Promise<BaselineFile[]> {
  const { rows } = await trx.raw<{ rows: BaselineFile[] }>('select path, sha256 from baselines where runtime = ? order by path, sha256', [runtime]);
  return rows;
}

/** A baseline file with the templates whose identity it is; none: the runtime's own. */
export interface OwnedBaselineFile extends BaselineFile {
  readonly itemIds: readonly ItemId[];
}

/** The baseline of a runtime, and whose each file was (D3). */
export async function loadOwnedBaseline(trx: Transaction, runtime: RuntimeId): Promise<OwnedBaselineFile[]> {
  const { rows } = await trx.raw<{ rows: OwnedBaselineFile[] }>(
    `select path, sha256, coalesce(array_agg(o.item_id order by o.item_id) filter (where o.item_id is not null), '{}') as "itemIds"
     from baselines left join baseline_items o using (runtime, path, sha256) where runtime = ? group by path, sha256 order by path, sha256`, [runtime],
  );
  return rows;
}
