import { randomUUID } from 'node:crypto';

import { effectiveEntitlement } from '../entitlements/effective.ts';
import { loadLines, readClock } from '../entitlements/sql.ts';
import { appendAudit, type AuditRow } from '../process/audit.ts';
import { tenantTx, type Database, type Transaction } from '../process/database.ts';
import { asFailure, Failure } from '../process/failure.ts';
import type { LockedWorkspace } from './delivery-rows.ts';
import { nameOf } from './forbidden.ts';
import type { DeliveryPlan, PlannedRelease, ResolveOptions } from './resolve-template-assets.ts';
import type { SignedObject } from './sources/brokered.ts';
import type { ObjectSigner } from './sources/object-signer.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** Longest life of a signed URL, in seconds: a grant is alive at most 60 s (C3). */
const grantSecondsMax = 60;

/** One release that may be fetched and opened now, once. */
export interface GrantedRelease {
  readonly release: PlannedRelease;
  /** When it was granted, by the database's clock, milliseconds since the epoch (I21). */
  readonly at: number;
  /** How long it may be fetched: at most 60 s, and never longer than the entitlement (C3). */
  readonly seconds: number;
  /** Names the two audit rows of its decrypt (I20). */
  readonly intent: string;
}

/**
 * Permission for one fetch of each of these releases by one attempt. Decides again, from the source of truth and under its
 * locks, that the attempt may fetch them (A8, C3), and leaves a row for each grant and for the decrypt that it is given for:
 * the intent is on record before any key is asked for (E2, I20). `before` is done first, in the same transaction.
 */
export async function grantReleases(
  database: Database, plan: DeliveryPlan, releases: readonly PlannedRelease[], options: ResolveOptions,
  before?: (trx: Transaction, locked: LockedWorkspace) => Promise<void>,
): Promise<readonly GrantedRelease[] | Exclude<Step, 'done'>> {
  let granted: GrantedRelease[] = [];
  const step = await whilePlanned(database, plan, options, 'grant', async (trx, locked) => {
    await before?.(trx, locked);
    const { orgId } = plan.workspace;
    const lines = Map.groupBy(await loadLines(trx, releases.map(({ itemId }) => ({ orgId, itemId }))), (line) => line.itemId);
    const at = await readClock(trx);
    granted = releases.map((release) => ({
      release, at, intent: randomUUID(), seconds: secondsLeft(release, effectiveEntitlement(lines.get(release.itemId) ?? [], at).validUntil, at),
    }));
    // What a worker fetches from a git host is not encrypted.
    const isOpened = ({ release }: GrantedRelease): boolean => release.source === 'brokered' || plan.workspace.deliveryMode === 'box';
    await appendAudit(trx, granted.flatMap((one) => [
      rowOf(plan, one, { action: 'grant', outcome: 'allow', detail: { seconds: one.seconds } }),
      ...(isOpened(one) ? [rowOf(plan, one, { action: 'decrypt', outcome: 'intent' })] : []),
    ]));
  });
  return step === 'done' ? granted : step;
}

/** A URL for the sealed object of a grant. Made outside the transaction: nothing is asked of the store. */
export async function signGrant(signer: ObjectSigner, { release, at, seconds }: GrantedRelease): Promise<SignedObject & { readonly expiresAt: Date }> {
  const { url, headers, expiresAt } = await signer.presignGet(
    { key: release.objectKey, versionId: release.objectVersion, etag: release.objectEtag }, { at: new Date(at), seconds },
  );
  return { url, headers, expiresAt, ciphertextSha256: release.ciphertextSha256, ciphertextBytes: release.ciphertextBytes };
}

/**
 * Runs the decrypt that a grant is for, and puts its outcome on record: opened, or why not (I20). Without the row nothing is
 * handed on; an intent without an outcome is a process that died in between.
 */
export async function recordingDecrypt<T>(database: Database, plan: DeliveryPlan, granted: GrantedRelease, decrypt: () => Promise<T>): Promise<T> {
  const record = async (outcome: string, code?: AuditRow['code']): Promise<void> => {
    await tenantTx(database, plan.workspace.orgId, async (trx) => { await appendAudit(trx, [rowOf(plan, granted, { action: 'decrypt', outcome, ...(code !== undefined && { code }) })]); });
  };
  let opened: T;
  try {
    opened = await decrypt();
  } catch (error) {
    await record('failed', asFailure(error).code);
    throw error;
  }
  await record('opened');
  return opened;
}

function secondsLeft(release: PlannedRelease, validUntil: number | null, now: number): number {
  const seconds = validUntil === null ? grantSecondsMax : Math.min(grantSecondsMax, Math.floor((validUntil - now) / 1_000));
  if (seconds < 1) throw new Failure('subject', 'NOT_ENTITLED', `The entitlement to ${release.itemId} ends within this second`);
  return seconds;
}

function rowOf(
  { workspace, attempt }: DeliveryPlan, { release, intent }: GrantedRelease,
  row: Pick<AuditRow, 'action' | 'outcome' | 'code' | 'detail'>,
): AuditRow {
  return {
    subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, attempt, causedBy: workspace.eventId, ...row,
    detail: { ...row.detail, release: nameOf(release), intent },
  };
}
