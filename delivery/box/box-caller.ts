import type { Database, Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { OrgId, WorkspaceId } from '../../schemas/ids.ts';
import type { WorkspaceState } from '../decide.ts';
import { restorePlan, type DeliveryPlan, type ResolveOptions } from '../resolve-template-assets.ts';
import { lockWorkspace, readReceipts, type Receipts } from '../delivery-rows.ts';

/** The agent in a workspace, as it has proved who it is (C3). */
export interface BoxCaller {
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  /** Of the boot that its token was issued for. */
  readonly epoch: number;
  /** RFC 7638 thumbprint of the key that data keys are wrapped to. */
  readonly encryptionKeyThumbprint: string;
}

/** What every step of a box works with. */
export interface BoxDeps {
  /** The primary: entitlement is never read from a replica. */
  readonly database: Database;
  readonly options: ResolveOptions & { readonly settleWindowMs: number };
}

/** After this many milliseconds without a word an attempt of a box is free to be begun anew. */
export const boxLeaseMs = 15 * 60_000;

/**
 * Holds who asks against the record as it is locked now: the tenant is the record's, and the token is of this boot (C3, I11).
 * @throws Failure input NOT_FOUND, the same for what is absent, foreign or delivered by a worker; STALE_VERSION for a token of
 *   an earlier boot; dependency UNAVAILABLE for one of a boot that has yet to be folded
 */
export function checkCaller<W extends Pick<WorkspaceState, 'orgId' | 'epoch' | 'deliveryMode'>>(caller: BoxCaller, workspace: W | undefined): W {
  if (workspace === undefined || workspace.orgId !== caller.orgId || workspace.deliveryMode !== 'box') {
    throw new Failure('input', 'NOT_FOUND', 'There is no such workspace that delivers to itself');
  }
  if (caller.epoch < workspace.epoch) {
    throw new Failure('input', 'STALE_VERSION', `The token is of epoch ${caller.epoch}, the workspace is in epoch ${workspace.epoch}: get a new one`);
  }
  if (caller.epoch > workspace.epoch) {
    throw new Failure('dependency', 'UNAVAILABLE', `The record of epoch ${caller.epoch} has yet to arrive; it is at ${workspace.epoch}`);
  }
  return workspace;
}

/** An attempt of the caller's as it was planned, and what stands on record now. */
export interface OpenAttempt {
  readonly plan: DeliveryPlan;
  readonly receipts: Receipts;
}

/**
 * Undefined: there is no such attempt of this workspace; for the caller that is the same as a superseded one.
 * @throws Failure as checkCaller
 */
export async function openAttempt(trx: Transaction, caller: BoxCaller, attempt: number): Promise<OpenAttempt | undefined> {
  const locked = await lockWorkspace(trx, caller.workspaceId);
  checkCaller(caller, locked?.workspace);
  const plan = await restorePlan(trx, caller.workspaceId, attempt);
  return plan && { plan, receipts: await readReceipts(trx, caller.workspaceId) };
}
