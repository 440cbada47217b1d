import { readClock } from '../entitlements/sql.ts';
import { appendAudit } from '../process/audit.ts';
import type { Database } from '../process/database.ts';
import type { DeliveryPlan, PlannedRelease, ResolveOptions } from './resolve-template-assets.ts';
import type { SignedObject } from './sources/brokered.ts';
import type { ObjectSigner } from './sources/object-signer.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** Longest life of a signed URL, in seconds: a grant is alive at most 60 s (C3). */
const grantSecondsMax = 60;

/** What a grant allows: one signed URL, made only when the object has to come from the store. */
export interface Grant {
  sign(): Promise<SignedObject>;
}

/**
 * Permission for one fetch of one release by one attempt. Decides again, from the source of truth and under its locks,
 * that the attempt may fetch it, and leaves an audit row (A8, C3, E2); only then is a URL signed, outside the transaction.
 * It lives by the database's clock (I21).
 */
export async function grantFetch(
  deps: { readonly database: Database; readonly signer: ObjectSigner }, plan: DeliveryPlan, release: PlannedRelease, options: ResolveOptions,
): Promise<Grant | Exclude<Step, 'done'>> {
  const { workspace, attempt } = plan;
  let now = 0;
  const step = await whilePlanned(deps.database, plan, options, 'grant', async (trx) => {
    now = await readClock(trx);
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'grant', outcome: 'allow', attempt,
      causedBy: workspace.eventId, detail: { release: `${release.itemId}@${release.version}`, seconds: grantSecondsMax },
    }]);
  });
  if (step !== 'done') return step;
  return {
    sign: async () => {
      const { url, headers } = await deps.signer.presignGet(
        { key: release.objectKey, versionId: release.objectVersion, etag: release.objectEtag }, { at: new Date(now), seconds: grantSecondsMax },
      );
      return { url, headers, ciphertextSha256: release.ciphertextSha256, ciphertextBytes: release.ciphertextBytes };
    },
  };
}
