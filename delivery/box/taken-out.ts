import { appendAudit } from '../../process/audit.ts';
import { tenantTx } from '../../process/database.ts';
import { wake } from '../../process/pending.ts';
import { lockWorkspace, writeDelivery } from '../delivery-rows.ts';
import { checkCaller, type BoxCaller, type BoxDeps } from './box-caller.ts';

/**
 * A box whose lease had run out has taken out what was sold (C13): what it holds is unknown from now on, which counts as
 * different, and is mended the way any difference is (C9). Said again it changes nothing.
 * @throws Failure as checkCaller
 */
export async function noteTakenOut({ database }: BoxDeps, caller: BoxCaller): Promise<void> {
  await tenantTx(database, caller.orgId, async (trx) => {
    const locked = await lockWorkspace(trx, caller.workspaceId);
    const { workspaceId, orgId } = checkCaller(caller, locked?.workspace);
    if (locked === undefined || locked.delivery.present === null) return;
    await writeDelivery(trx, workspaceId, { present: null });
    await appendAudit(trx, [{ subjectKind: 'workspace', subjectId: workspaceId, orgId, action: 'lease', outcome: 'run-out', detail: { takenOut: 'sold' } }]);
    await wake(trx, [workspaceId], 'live');
  });
}
