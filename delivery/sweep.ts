import { channel } from 'node:diagnostics_channel';

import { appendAudit } from '../process/audit.ts';
import { tx, type Database } from '../process/database.ts';
import { asFailure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { pause } from '../process/pause.ts';
import { wake } from '../process/pending.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import { isAtRest } from './decide.ts';
import { lockWorkspace } from './delivery-rows.ts';
import { askForProbes } from './probing.ts';
import { resolveTemplateAssets, type ResolveOptions } from './resolve-template-assets.ts';

/** Workspaces looked at before the sweep lets others at the database. */
const pageSize = 100;
const pagePauseMs = 50;
const unwellPauseMs = 2_000;
const probeEveryMs = 1_000;

export interface SweepOptions extends ResolveOptions {
  /** An attempt that began less than this many milliseconds ago may still be putting its folder in order. */
  readonly leaseMs: number;
}

/** Published on the diagnostics channel of the same name after each page and each look for probes. */
export interface Swept {
  readonly checked: number;
  readonly found: number;
  readonly probesAsked: number;
}

export const sweepChannel = channel('waybill:sweep');

/** One page of a sweep. */
export interface SweptPage {
  readonly checked: number;
  /** Workspaces whose wanted and present disagree although nobody is due to mend it: each is woken, and a bug to look for. */
  readonly found: readonly WorkspaceId[];
  /** Where the next page begins; undefined: that was the last. */
  readonly next: WorkspaceId | undefined;
}

/**
 * Compares wanted with present for the workspaces after `cursor` that are not pending (C12). At rest every one of them has
 * nothing to do; what is found was a lost wake.
 */
export async function sweepPage(database: Database, cursor: string, options: SweepOptions): Promise<SweptPage> {
  const { rows: page } = await tx(database, async (trx) => await trx.raw<{ rows: { workspace_id: WorkspaceId }[] }>(
    `select d.workspace_id from deliveries d
     where d.workspace_id > ? and not exists (select from pending p where p.workspace_id = d.workspace_id)
       and not exists (select from attempts a where a.workspace_id = d.workspace_id and a.ended_at is null
         and a.started_at > clock_timestamp() - ? * interval '1 millisecond')
     order by d.workspace_id limit ?`, [cursor, options.leaseMs, pageSize],
  ));
  const found: WorkspaceId[] = [];
  for (const { workspace_id: workspaceId } of page) {
    if (await mendLost(database, workspaceId, options)) found.push(workspaceId);
  }
  return { checked: page.length, found, next: page.length < pageSize ? undefined : page.at(-1)?.workspace_id };
}

/** Looks under the locks of a plan, so that no change commits between the comparison and the look for a pending row. */
async function mendLost(database: Database, workspaceId: WorkspaceId, options: SweepOptions): Promise<boolean> {
  return await tx(database, async (trx) => {
    const locked = await lockWorkspace(trx, workspaceId);
    if (locked === undefined) return false;
    const plan = await resolveTemplateAssets(trx, locked.workspace.template, locked, { attempt: 0, n: 0 }, options);
    if (isAtRest(plan.decision, plan.delivery)) return false;
    // Due, or in a page of a fan-out that is still to come: nothing is lost.
    const { rows: due } = await trx.raw<{ rows: unknown[] }>(
      `select 1 from pending where workspace_id = :workspaceId union all
       select 1 from workspace_items w join fanouts f using (item_id)
       where w.workspace_id = :workspaceId and f.done_at is null and w.workspace_id > f.cursor and w.org_id = coalesce(f.org_id, w.org_id)`, { workspaceId },
    );
    if (due.length > 0) return false;
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspaceId, orgId: locked.workspace.orgId, action: 'sweep', outcome: 'found',
      detail: { act: plan.decision.act, wanted: plan.wanted.setDigest, present: locked.delivery.present?.setDigest ?? null },
    }]);
    await wake(trx, [workspaceId]);
    return true;
  });
}

export interface RunSweepOptions {
  readonly database: Database;
  readonly options: SweepOptions;
  /** From the end of one sweep to the next, milliseconds. */
  readonly intervalMs: number;
  /** A workspace that runs is probed again when its identity files were read longer ago than this, in milliseconds (C9). */
  readonly probeAgeMs: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** Sweeps over and over, and asks for probes meanwhile, until the signal aborts. */
export async function runSweep({ database, options, intervalMs, probeAgeMs, signal, log }: RunSweepOptions): Promise<void> {
  let cursor: string | undefined;
  let [nextSweepAt, nextProbesAt] = [0, 0];
  while (!signal.aborted) {
    let pauseMs = pagePauseMs;
    try {
      if (performance.now() >= nextSweepAt) {
        const page = await sweepPage(database, cursor ?? '00000000-0000-0000-0000-000000000000', options);
        // A person has to know: every one of these should have been woken by what changed.
        if (page.found.length > 0) log.error({ workspaces: page.found }, 'the sweep found workspaces that nobody had woken');
        cursor = page.next;
        if (cursor === undefined) nextSweepAt = performance.now() + intervalMs;
        sweepChannel.publish({ checked: page.checked, found: page.found.length, probesAsked: 0 } satisfies Swept);
      }
      if (performance.now() >= nextProbesAt) {
        nextProbesAt = performance.now() + probeEveryMs;
        const probesAsked = await askForProbes(database, probeAgeMs);
        sweepChannel.publish({ checked: 0, found: 0, probesAsked } satisfies Swept);
      }
      if (cursor === undefined) pauseMs = Math.max(0, Math.min(nextSweepAt, nextProbesAt) - performance.now());
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind !== 'dependency') throw error;
      log.warn({ code: failure.code, cure: failure.cure }, `the sweep waits: ${failure.message}`);
      pauseMs = unwellPauseMs;
    }
    await pause(pauseMs, signal);
  }
}
