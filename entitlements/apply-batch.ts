import type { AuditRow } from '../process/audit.ts';
import { appendAudit } from '../process/audit.ts';
import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { lockOrgItems } from '../process/locks.ts';
import type { RunCause } from '../process/pending.ts';
import { announce, type Announcement } from './announce.ts';
import { appliedOf, bucketOf, countBuckets, foldBatch, type BatchResult, type Folded } from './decide.ts';
import { lineKeyOf, lineOf, pairKeyOf, type Line, type LineEvent } from './line.ts';
import { loadLines, readClock, writeLines } from './sql.ts';

/**
 * Folds a batch of purchases and revocations: locks the pairs, loads their lines, decides, writes the lines that won,
 * their audit, what the pairs now add up to, its events, and last the wakes (A1, A3, A4, A6, C12). In the caller's
 * transaction, which already holds the consumer's position; the number of statements does not depend on the batch.
 * `run`: what a replay causes carries its id and waits in its lane (D1).
 * Out: how many events went into each bucket (I4), and every conflict (A6).
 */
export async function applyEntitlementBatch(trx: Transaction, events: readonly LineEvent[], run?: RunCause): Promise<BatchResult> {
  const pairs = [...new Map(events.map(({ event }) => {
    const pair = { orgId: event.org_id, itemId: event.item_id };
    return [pairKeyOf(pair), pair];
  })).values()];
  await lockOrgItems(trx, pairs.map(({ orgId, itemId }) => ({ org_id: orgId, item_id: itemId })), 'exclusive');
  // A statement of its own, after the locks: only then does it see what the last holder committed.
  const held = new Map((await loadLines(trx, pairs)).map((line) => [lineKeyOf(line), line]));

  const { folded, changed } = foldBatch(held, events, lineOf, lineKeyOf);
  if (changed.size > 0) {
    const causes = new Map<string, string>();
    const announcements = new Map<string, Announcement>();
    for (const { event: { event }, state, decision } of folded) {
      if (decision.kind === 'unchanged') continue;
      causes.set(lineKeyOf(state), event.event_id);
      announcements.set(pairKeyOf(state), { orgId: state.orgId, itemId: state.itemId, causedBy: event.event_id });
    }
    const writes = [...changed].map(([key, line]) => ({ line, eventId: causes.get(key) ?? '' }));
    const won = await writeLines(trx, writes);
    if (won !== writes.length) {
      throw new Failure('fault', 'FAULT', `${writes.length - won} of ${writes.length} lines were written by somebody who does not hold the lock of their (org, item).`);
    }
    await appendAudit(trx, folded.flatMap((one) => auditOf(one, run)));
    await announce(trx, [...announcements.values()], new Map([...held, ...changed]).values(), await readClock(trx), run);
  } else {
    await appendAudit(trx, folded.flatMap((one) => auditOf(one, run)));
  }
  return { counts: countBuckets(folded), applied: appliedOf(folded), conflicts: folded.flatMap(conflictOf) };
}

/** What changed something or was in conflict is on record; that an older or repeated event did nothing is not news. */
function auditOf({ event: { type, event }, state, decision }: Folded<LineEvent, Line>, run: RunCause | undefined): AuditRow[] {
  const bucket = bucketOf(decision);
  if (bucket === 'superseded' || bucket === 'duplicate') return [];
  const lost = bucket === 'conflict' && 'conflict' in decision ? decision.conflict : null;
  return [{
    subjectKind: 'line',
    subjectId: lineKeyOf(state),
    orgId: state.orgId,
    action: type,
    outcome: bucket,
    code: lost === null ? undefined : 'CONFLICT',
    detail: {
      // The whole line: what it was at a past time is read from here (E3).
      version: state.version, digest: state.digest, source: state.source, policy: state.policy, validFrom: state.validFrom, validUntil: state.validUntil,
      endedAt: state.endedAt, reason: state.reason, ...(lost !== null && { lost: lost.digest }), ...(run !== undefined && { run: run.runId }),
    },
    causedBy: event.event_id,
  }];
}

function conflictOf({ event: { event }, state, decision }: Folded<LineEvent, Line>): BatchResult['conflicts'] {
  if (!('conflict' in decision) || decision.conflict === null) return [];
  return [{ subject: lineKeyOf(state), version: state.version, eventId: event.event_id, won: decision.kind === 'changed' }];
}
