import { appendAudit } from '../process/audit.ts';
import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { wake } from '../process/pending.ts';
import type { ItemId } from '../schemas/ids.ts';
import { editItem } from './edit-item.ts';
import { loadSealedReleases } from './lookup.ts';
import { findRelease, parseReason, type ReleaseName } from './releases.ts';
import { sourceFault, type ReleaseSource } from './source.ts';

export interface SourceMove {
  readonly changed: boolean;
  readonly before: ReleaseSource;
  /** Workspaces that had failed to get the item and try again at once. */
  readonly woken: number;
}

/** Failing workspaces that are woken at most; the others come back by their own backoff. */
const wokenMax = 500;

/**
 * Says where the bytes of a release come from (C2): one change of the catalogue, and nothing else. The set of nobody is
 * another for it, so nobody looks again but those who had failed to fetch.
 * @throws Failure input NOT_FOUND, SOURCE_REFUSED, FIELD_INVALID (no reason)
 */
export async function moveSource(database: Database, { itemId, version, source, reason }: ReleaseName & { readonly source: ReleaseSource; readonly reason: string }): Promise<SourceMove> {
  const why = parseReason(reason);
  return await editItem<SourceMove>(database, itemId, async (trx, entry) => {
    findRelease(entry, { itemId, version });
    const [release] = await loadSealedReleases(trx, [{ itemId, version }]);
    if (release === undefined) throw new Error(`${itemId} ${version} is in the catalogue and cannot be read`);
    const fault = sourceFault(release, source);
    if (fault !== undefined) throw new Failure('input', 'SOURCE_REFUSED', `${itemId} ${version} cannot come from the source ${source}: ${fault}`, { cure: 'Leave it where it is.' });
    const before = release.source;
    if (before === source) return { result: { changed: false, before, woken: 0 }, facts: [], audit: [], wakes: null };
    await trx.raw('update releases set source = ? where item_id = ? and version = ?', [source, itemId, version]);
    await appendAudit(trx, [{ subjectKind: 'release', subjectId: `${itemId}@${version}`, action: 'source', outcome: source, detail: { reason: why, before } }]);
    return { result: { changed: true, before, woken: await wakeFailing(trx, itemId) }, facts: [], audit: [], wakes: null };
  });
}

async function wakeFailing(trx: Transaction, itemId: ItemId): Promise<number> {
  const { rows } = await trx.raw<{ rows: { workspace_id: string }[] }>(
    `select distinct p.workspace_id from pending p join workspace_items w using (workspace_id)
     where w.item_id = ? and p.tries > 0 order by p.workspace_id limit ?`, [itemId, wokenMax]);
  await wake(trx, rows.map(({ workspace_id: workspaceId }) => workspaceId));
  return rows.length;
}
