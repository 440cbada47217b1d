import { appendAudit } from '../process/audit.ts';
import { everyTenant, tenantTx, type Database } from '../process/database.ts';
import type { Code } from '../schemas/codes.ts';
import type { Caller } from './identity.ts';

/** A request that was refused because of who sent it. */
export interface Denial {
  /** Undefined: nothing proved who it was. */
  readonly caller: Caller | undefined;
  readonly method: string;
  /** The path as the route declares it: what was named in it stays out of the audit, for it may be another tenant's. */
  readonly path: string;
  readonly code: Code;
  readonly requestId: string;
}

/** Puts a denial on record (E2, I11). */
export async function auditDenial(database: Database, { caller, method, path, code, requestId }: Denial): Promise<void> {
  await tenantTx(database, caller?.kind === 'workspace' ? caller.orgId : everyTenant, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'caller', subjectId: subjectOf(caller), orgId: caller?.kind === 'workspace' ? caller.orgId : undefined,
      action: 'http', outcome: 'denied', code, detail: { method, path, request_id: requestId },
    }]);
  });
}

function subjectOf(caller: Caller | undefined): string {
  if (caller === undefined) return 'unknown';
  return caller.kind === 'workspace' ? `workspace/${caller.workspaceId}` : `${caller.kind}/${caller.subject}`;
}
