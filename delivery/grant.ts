import { appendAudit } from '../process/audit.ts';
import type { Database } from '../process/database.ts';
import type { DeliveryPlan, PlannedRelease, ResolveOptions } from './resolve-template-assets.ts';
import type { SignedObject } from './sources/brokered.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** Longest life of a signed URL, in seconds: a grant is alive at most 60 s (C3). */
const grantSecondsMax = 60;

/** Signs a URL for one object; no network call. The URL is a secret until it expires. */
export interface ObjectSigner {
  presign(
    object: { readonly key: string; readonly version: string | null; readonly etag: string }, expiresInSeconds: number,
  ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }>;
}

/**
 * Decides again, from the source of truth and under its locks, that the attempt may fetch this release, and leaves an
 * audit row for it (A8, C3, E2); only then is a URL signed, outside the transaction.
 */
export async function grantFetch(
  deps: { database: Database; signer: ObjectSigner }, plan: DeliveryPlan, release: PlannedRelease, options: ResolveOptions,
): Promise<SignedObject | Exclude<Step, 'done'>> {
  const { workspace, attempt } = plan;
  const step = await whilePlanned(deps.database, plan, options, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'grant', outcome: 'allow', attempt,
      causedBy: workspace.eventId, detail: { release: `${release.itemId}@${release.version}`, seconds: grantSecondsMax },
    }]);
  });
  if (step !== 'done') return step;
  const signed = await deps.signer.presign(
    { key: release.objectKey, version: release.objectVersion, etag: release.objectEtag }, grantSecondsMax,
  );
  return { ...signed, ciphertextSha256: release.ciphertextSha256, ciphertextBytes: release.ciphertextBytes };
}
