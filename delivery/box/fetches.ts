import { appendAudit } from '../../process/audit.ts';
import { tenantTx, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { renewClaim } from '../../process/pending.ts';
import { sealContext, type SealContext } from '../../catalogue/seal-context.ts';
import type { ItemId, Sha256, Version, WorkspaceId } from '../../schemas/ids.ts';
import { nameOf, type ReleaseRef } from '../forbidden.ts';
import { grantReleases, recordingDecrypt, signGrant, type GrantedRelease } from '../grant.ts';
import { restorePlan, type DeliveryPlan, type PlannedRelease } from '../resolve-template-assets.ts';
import type { ObjectSigner } from '../sources/object-signer.ts';
import type { Step } from '../while-planned.ts';
import { boxLeaseMs, checkCaller, type BoxCaller, type BoxDeps } from './box-caller.ts';
import { thumbprintOf, type EncryptionKey } from './encryption-key.ts';

/** Opens the data key of one release. Implemented by adapters/kms, with a credential that may do nothing else. */
export interface DataKeyUnwrapper {
  /** @throws Failure subject INTEGRITY_FAILED (another seller's, or another context), KEY_UNUSABLE; dependency UNAVAILABLE, UPSTREAM */
  unwrap(wrapped: { readonly wrappingKeyId: string; readonly wrappedDataKey: Uint8Array; readonly context: SealContext }): Promise<Buffer>;
}

/** What is said to a workspace of a data key, and what it has to hold it against. */
export interface ReleasedKey {
  readonly workspaceId: WorkspaceId;
  readonly attempt: number;
  readonly ciphertextSha256: Sha256;
  readonly context: SealContext;
  readonly key: Buffer;
}

/** Closes a data key to the key of a workspace. Implemented by adapters/jose. */
export interface DataKeyWrapper {
  /** @returns a JWE in compact serialization, ECDH-ES+A256KW and A256GCM. @throws Failure input FIELD_INVALID when the key is none */
  wrap(released: ReleasedKey, recipient: EncryptionKey): Promise<string>;
}

export interface FetchDeps extends BoxDeps {
  readonly signer: ObjectSigner;
  readonly unwrapper: DataKeyUnwrapper;
  readonly wrapper: DataKeyWrapper;
}

/** Releases that one request may name. */
export const releasesMax = 8;
/** Grants for each release of the set that one attempt gets, counted together: retries of a bad line, and no endless supply. */
const grantsPerRelease = 32;

export interface FetchRequest {
  readonly attempt: number;
  readonly releases: readonly { readonly itemId: ItemId; readonly version: Version }[];
  readonly encryptionKey: EncryptionKey;
}

/** One release that a box may fetch and open. `url` and `dataKey` are secrets: never logged. */
export interface BoxGrant extends ReleaseRef {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly expiresAt: Date;
  readonly expiresInMs: number;
  readonly ciphertextSha256: Sha256;
  readonly ciphertextBytes: number;
  readonly dataKey: string;
}

export interface BoxGrants {
  readonly items: readonly BoxGrant[];
  /** By the database's clock, milliseconds since the epoch. */
  readonly serverTime: number;
}

/**
 * Grants for a box: who asks, whether its attempt is current, entitled and approved, and the budget are decided in one
 * transaction on the primary, with the intents of the decrypts; then each data key is opened by the KMS under its release's
 * context, closed to the key of this very workspace, and the outcome put on record (A8, B4, C3, C4, I20, I21).
 * @throws Failure as checkCaller; input FIELD_INVALID, GRANT_BUDGET; subject NOT_ENTITLED, KEY_UNUSABLE, INTEGRITY_FAILED;
 *   dependency UNAVAILABLE, UPSTREAM
 */
export async function grantToBox(deps: FetchDeps, caller: BoxCaller, request: FetchRequest): Promise<BoxGrants | Exclude<Step, 'done'>> {
  const { database, options } = deps;
  if (thumbprintOf(request.encryptionKey) !== caller.encryptionKeyThumbprint) {
    throw new Failure('input', 'FIELD_INVALID', 'encryption_key is not the one that the token names: data keys are wrapped to that one alone');
  }
  // Who asks is checked below, under the locks; an attempt of another workspace is not found.
  const plan = await tenantTx(database, caller.orgId, async (trx) => await restorePlan(trx, caller.workspaceId, request.attempt));
  if (plan === undefined) return 'superseded';
  const since = performance.now();
  const releases = releasesOf(plan, request);
  const granted = await grantReleases(database, plan, releases, options, async (trx, locked) => {
    checkCaller(caller, locked.workspace);
    await spendBudget(trx, plan, releases.length);
    await renewClaim(trx, { workspaceId: caller.workspaceId, attempt: plan.attempt }, boxLeaseMs);
  });
  if (typeof granted === 'string') {
    await recordDenial(deps, plan, releases, granted);
    return granted;
  }
  const items = await Promise.all(granted.map(async (one) => await release(deps, plan, one, request.encryptionKey)));
  // All of the time since it was granted, and some before, is gone from the life of the URLs: no clock but the database's and a monotonic one.
  const serverTime = (granted[0]?.at ?? 0) + Math.ceil(performance.now() - since);
  return { serverTime, items: items.map((item) => ({ ...item, expiresInMs: Math.max(0, item.expiresAt.getTime() - serverTime) })) };
}

async function release(deps: FetchDeps, plan: DeliveryPlan, granted: GrantedRelease, recipient: EncryptionKey): Promise<Omit<BoxGrant, 'expiresInMs'>> {
  const { release: { itemId, version, wrappingKeyId, wrappedDataKey, ciphertextSha256, signed } } = granted;
  const context = sealContext(signed);
  const dataKey = await recordingDecrypt(deps.database, plan, granted, async () => {
    const key = await deps.unwrapper.unwrap({ wrappingKeyId, wrappedDataKey, context });
    try {
      return await deps.wrapper.wrap({ workspaceId: plan.workspace.workspaceId, attempt: plan.attempt, ciphertextSha256, context, key }, recipient);
    } finally {
      key.fill(0);
    }
  });
  return { itemId, version, ...await signGrant(deps.signer, granted), dataKey };
}

/** Only releases of the plan: there is no way to name another (C1). */
function releasesOf(plan: DeliveryPlan, { releases }: FetchRequest): PlannedRelease[] {
  const byName = new Map(plan.releases.map((planned) => [nameOf(planned), planned]));
  const names = [...new Set(releases.map(nameOf))];
  if (names.length === 0 || names.length > releasesMax) throw new Failure('input', 'FIELD_INVALID', `releases should name 1 to ${releasesMax} releases, not ${names.length}`);
  return names.map((name) => {
    const planned = byName.get(name);
    if (planned === undefined) throw new Failure('input', 'FIELD_INVALID', `releases names ${JSON.stringify(name)}, which is not in the set of this attempt`);
    return planned;
  });
}

async function spendBudget(trx: Transaction, { attempt, wanted }: DeliveryPlan, count: number): Promise<void> {
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    'update attempts set grants = grants + ? where attempt = ? and grants + ? <= ?', [count, attempt, count, grantsPerRelease * wanted.items.length],
  );
  if (rowCount === 0) throw new Failure('input', 'GRANT_BUDGET', `Attempt ${attempt} has had ${grantsPerRelease} grants for each of its releases: begin a new one`);
}

/** Every refusal is on record as every grant is (E2). */
async function recordDenial({ database }: BoxDeps, { workspace, attempt }: DeliveryPlan, releases: readonly PlannedRelease[], step: string): Promise<void> {
  await tenantTx(database, workspace.orgId, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'grant', outcome: 'deny', attempt,
      causedBy: workspace.eventId, detail: { releases: releases.map(nameOf), because: step },
    }]);
  });
}
