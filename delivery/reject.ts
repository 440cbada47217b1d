import { appendAudit } from '../process/audit.ts';
import { tenantTx, type Database } from '../process/database.ts';
import type { Failure } from '../process/failure.ts';
import { readClaim, type Claim } from '../process/pending.ts';
import type { Code } from '../schemas/codes.ts';
import { parseWorkspaceId } from '../schemas/ids.ts';
import { Announcer } from './announce.ts';
import { outcomeOf, sameOutcome } from './decide.ts';
import { lockWorkspace, noteOutcome, writeDelivery } from './delivery-rows.ts';
import { resolveTemplateAssets, type ResolveOptions } from './resolve-template-assets.ts';

/** Refusals that last until somebody acts; the others pass by themselves and are not announced. */
export const lastingRefusals: ReadonlySet<Code> = new Set<Code>(['INTEGRITY_FAILED', 'TOO_LARGE', 'GATE_FIELD', 'UNSUPPORTED_VOLUME']);

/** After a failed attempt: why, in the delivery row and the audit, and AssetsRejected when it lasts and is news. */
export async function reject(database: Database, claim: Claim, failure: Failure, options: ResolveOptions): Promise<void> {
  await tenantTx(database, claim.orgId, async (trx) => {
    const workspaceId = parseWorkspaceId(claim.workspaceId);
    const locked = await lockWorkspace(trx, workspaceId);
    const held = await readClaim(trx, workspaceId, claim.attempt);
    if (locked === undefined || held === undefined) return;
    await noteOutcome(trx, claim.attempt, { outcome: 'failed', code: failure.code, detail: failure.message });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspaceId, orgId: locked.workspace.orgId, action: 'deliver', outcome: 'failed',
      code: failure.code, attempt: claim.attempt, causedBy: locked.workspace.eventId, detail: { kind: failure.kind, message: failure.message, cure: failure.cure },
    }]);
    await writeDelivery(trx, workspaceId, { parkedCode: failure.code });
    if (!lastingRefusals.has(failure.code) || held.n !== claim.n) return;
    const plan = await resolveTemplateAssets(trx, locked.workspace.template, locked, claim, options);
    const outcome = { ...outcomeOf(plan.workspace, plan.wanted), kind: 'rejected' as const, code: failure.code };
    if (sameOutcome(plan.delivery.announced, outcome)) return;
    const announcer = await Announcer.open(trx, plan, locked.assetsVersion);
    await announcer.outcome(outcome, [], claim.tries + 1);
    await writeDelivery(trx, workspaceId, { announced: outcome, assetsVersion: announcer.assetsVersion });
  });
}
