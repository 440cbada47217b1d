import { loadSealedReleases } from '../catalogue/lookup.ts';
import { targetPath } from '../catalogue/target-path.ts';
import type { Transaction } from '../process/database.ts';
import { wake } from '../process/pending.ts';
import { arrayOf } from '../process/sql-columns.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import { findRuntime } from '../schemas/runtimes.ts';
import type { HeldRelease } from './decide.ts';
import { addReceipts, readReceipts, replaceReceipts, writeDelivery, writeHeldItems, type Receipt } from './delivery-rows.ts';
import { nameOf } from './forbidden.ts';
import { relearn, type AssetsEvent, type SaidState } from './relearn.ts';
import { verifySignedRecord } from './unseal.ts';

/**
 * Brings delivery rows to where the events of the topic say that they were: assets_version above what readers know, what is
 * present and was said, the restarts that were asked for, and receipts for what was delivered, so that it can be taken away
 * again (I6, I9, I25, I26). Every workspace concerned is woken. In: events of whole workspaces, in the order of the topic.
 * Out: how many workspaces learned something.
 */
export async function relearnDeliveries(trx: Transaction, events: readonly AssetsEvent[]): Promise<number> {
  const eventsOf = Map.groupBy(events, ({ event }) => event.workspace_id);
  const held = await lockDeliveries(trx, [...eventsOf].map(([workspaceId, [first]]) => ({ workspaceId, orgId: first?.event.org_id ?? '' })));
  const learned = [...eventsOf].flatMap(([workspaceId, ofOne]) => {
    const [before, [first]] = [held.get(workspaceId), ofOne];
    const after = before && ofOne.toSorted((a, b) => a.event.assets_version - b.event.assets_version).reduce(relearn, before);
    return after === undefined || after === before || first === undefined ? [] : [{ workspaceId, orgId: first.event.org_id, state: after }];
  });
  const receiptsOf = await planReceipts(trx, learned.flatMap(({ state }) => state.delivered ?? []));
  for (const { workspaceId, orgId, state } of learned) {
    await writeDelivery(trx, workspaceId, {
      assetsVersion: state.assetsVersion, present: state.present, announced: state.announced, restartRequested: state.restartRequested,
      lapsesAnnounced: state.lapsesAnnounced, restartsAsked: state.restartsAsked.map((at) => new Date(at)), ...(state.isStagedGone && { staged: null }),
      // When the files were last read is not said.
      probeDue: true,
    });
    if (state.delivered === null) continue;
    const receipts = state.delivered.flatMap((release) => receiptsOf.get(nameOf(release)) ?? []);
    const { directories } = await readReceipts(trx, workspaceId);
    await addReceipts(trx, workspaceId, receipts, []);
    // Of a release that the catalogue forgot nobody knows the files; the older receipts may say some of them.
    if (state.delivered.every((release) => receiptsOf.has(nameOf(release)))) await replaceReceipts(trx, workspaceId, receipts, directories);
    await writeHeldItems(trx, { workspaceId, orgId }, state.delivered.map(({ itemId }) => itemId));
  }
  await wake(trx, learned.map(({ workspaceId }) => workspaceId));
  return learned.length;
}

/** Locks the rows in order, and makes those that are missing: the topic speaks of no workspace that never had one (I15). */
async function lockDeliveries(trx: Transaction, workspaces: readonly { workspaceId: WorkspaceId; orgId: string }[]): Promise<Map<WorkspaceId, SaidState>> {
  const ids = arrayOf(workspaces.map(({ workspaceId }) => workspaceId));
  await trx.raw(
    `insert into deliveries (workspace_id, org_id)
     select workspace_id, org_id from unnest(?::uuid[], ?::uuid[]) as said(workspace_id, org_id)
     where not exists (select from deliveries d where d.workspace_id = said.workspace_id) order by workspace_id on conflict do nothing`,
    [ids, arrayOf(workspaces.map(({ orgId }) => orgId))],
  );
  await trx.raw('select 1 from deliveries where workspace_id = any(?::uuid[]) order by workspace_id for update', [ids]);
  interface Row extends Omit<SaidState, 'delivered' | 'isStagedGone' | 'restartsAsked'> {
    readonly workspaceId: WorkspaceId;
    readonly restartsAsked: readonly Date[];
  }
  const { rows } = await trx.raw<{ rows: Row[] }>(
    `select workspace_id as "workspaceId", assets_version as "assetsVersion", present, announced, restart_requested as "restartRequested",
       lapses_announced as "lapsesAnnounced", restarts_asked as "restartsAsked" from deliveries where workspace_id = any(?::uuid[])`, [ids],
  );
  return new Map(rows.map(({ workspaceId, restartsAsked, ...row }) => [
    workspaceId, { ...row, restartsAsked: restartsAsked.map((at) => at.getTime()), delivered: null, isStagedGone: false },
  ]));
}

/** The files of releases wherever a runtime that they are for has them: a path that this workspace has not costs a look, and nothing else. */
async function planReceipts(trx: Transaction, releases: readonly HeldRelease[]): Promise<Map<string, Receipt[]>> {
  const known = await loadSealedReleases(trx, [...new Map(releases.map((release) => [nameOf(release), release])).values()]);
  return new Map(known.map((release) => {
    const { itemId, version, kind } = release;
    const { files, runtimes } = verifySignedRecord(release);
    const byPlace = new Map(runtimes.flatMap((id) => {
      const runtime = findRuntime(id);
      return runtime === undefined ? [] : files.map(({ path, sha256 }) => [targetPath(kind, itemId, runtime, path), sha256] as const);
    }));
    return [nameOf(release), [...byPlace].map(([path, sha256]) => ({ path, sha256, itemId, version }))];
  }));
}
