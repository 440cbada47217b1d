import { readClock } from '../../entitlements/sql.ts';
import { tenantTx, type Transaction } from '../../process/database.ts';
import { asFailure } from '../../process/failure.ts';
import type { PendingSight } from '../../process/pending.ts';
import type { Code } from '../../schemas/codes.ts';
import type { ItemId } from '../../schemas/ids.ts';
import { applyScope } from '../apply-scope.ts';
import type { DeliveryState, Outcome, WorkspaceState } from '../decide.ts';
import { lockWorkspace, readAsides, readReceipts, type Receipts } from '../delivery-rows.ts';
import { resolveTemplateAssets, restorePlan, type DeliveryPlan } from '../resolve-template-assets.ts';
import type { AsideRecord } from '../volume/volume-work.ts';
import type { WantedSet } from '../wanted-set.ts';
import { beginAttempt, type BeginInput } from './begin.ts';
import { checkCaller, type BoxCaller, type BoxDeps } from './box-caller.ts';
import { failAttempt } from './fail.ts';
import { leaseRenewalMs, leaseSeconds, type Lease, type LeaseSigner } from './lease.ts';
import type { PendingWatch } from './watch.ts';

export interface WantedDeps extends BoxDeps {
  readonly watch: PendingWatch;
  /** Without one no lease is given, and a box that loses the broker has none. */
  readonly leases?: LeaseSigner | undefined;
}

export interface WantedQuestion extends BeginInput {
  /** The tag of the answer that the box has; null: it has none, or wants a new attempt. */
  readonly tag: string | null;
  /** How long to wait for something else than that answer. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** What the agent in a workspace is to do. `none`: nothing on the volume. */
export type BoxAct = 'none' | 'boot' | 'stage' | 'remove' | 'probe' | 'discard';

/** The answer to a box: a plan of the chokepoint, and what it takes to carry it out on the volume. */
export interface WantedAnswer {
  readonly tag: string;
  readonly act: BoxAct;
  readonly workspace: Pick<WorkspaceState, 'workspaceId' | 'orgId' | 'runtime' | 'status' | 'epoch' | 'generation'>;
  /** By the database's clock, milliseconds since the epoch. */
  readonly serverTime: number;
  /** Undefined when nothing is to be done. */
  readonly plan: DeliveryPlan | undefined;
  readonly access: ReadonlyMap<ItemId, string>;
  readonly wanted: WantedSet | undefined;
  readonly code: Code | null;
  readonly removal: readonly string[];
  readonly denied: readonly string[];
  readonly adopt: number | null;
  readonly receipts: Receipts;
  readonly asides: readonly AsideRecord[];
  readonly lastWord: Outcome | null;
  readonly lease: string | null;
}

/**
 * What a box is to do now: begins an attempt when something is due, or waits until something is. Undefined: still the same as
 * its tag says.
 * @throws Failure as checkCaller; subject UNSUPPORTED_VOLUME, INTEGRITY_FAILED
 */
export async function askWanted(deps: WantedDeps, caller: BoxCaller, question: WantedQuestion): Promise<WantedAnswer | undefined> {
  const known = parseTag(question.tag);
  if (known === undefined) return await answer(deps, caller, question, await beginAttempt(deps, caller, question));

  const now = await tenantTx(deps.database, caller.orgId, async (trx) => {
    await checkCurrent(trx, caller);
    return await readClock(trx);
  });
  const renewalAt = (known.period + 1) * leaseRenewalMs - offsetOf(caller);
  const isNews = (sight: PendingSight | undefined): boolean => differs(known, sight);
  const waitMs = Math.max(0, Math.min(question.waitMs, renewalAt - now));
  if (now < renewalAt && !(await deps.watch.wait(caller.workspaceId, isNews, waitMs, question.signal)) && waitMs === question.waitMs) return undefined;
  // Only the lease is new while an attempt runs: it goes on under the new tag.
  const sight = await deps.watch.look(caller.workspaceId);
  const plan = differs(known, sight) ? await beginAttempt(deps, caller, question) : await running(deps, caller, known);
  return await answer(deps, caller, question, plan);
}

/** Of an answer: its attempt (0: none), pending.n as it was planned with, and the period of its lease. */
interface Tag {
  readonly attempt: number;
  readonly n: number;
  readonly period: number;
}

function parseTag(text: string | null): Tag | undefined {
  const groups = /^(?<attempt>\d{1,15})\.(?<n>\d{1,15})\.(?<period>\d{1,12})$/u.exec(text ?? '')?.groups;
  return groups && { attempt: Number(groups['attempt']), n: Number(groups['n']), period: Number(groups['period']) };
}

/** Whether a pending row says anything else than the answer of that tag did. */
function differs(tag: Tag, sight: PendingSight | undefined): boolean {
  if (sight === undefined) return false;
  const isRunning = sight.leased && sight.attempt === tag.attempt;
  return isRunning ? sight.n !== tag.n : sight.due || (tag.attempt !== 0 && sight.attempt !== tag.attempt);
}

/** Leases of different workspaces are not all renewed in the same second. */
const offsetOf = ({ workspaceId }: Pick<BoxCaller, 'workspaceId'>): number => Number.parseInt(workspaceId.slice(0, 8), 16) % leaseRenewalMs;

async function running({ database }: WantedDeps, { workspaceId, orgId }: BoxCaller, { attempt }: Tag): Promise<DeliveryPlan | undefined> {
  return attempt === 0 ? undefined : await tenantTx(database, orgId, async (trx) => await restorePlan(trx, workspaceId, attempt));
}

/** The record without the delivery row: a workspace that never asked for anything has one all the same (C6). */
async function checkCurrent(trx: Transaction, caller: BoxCaller): Promise<WantedAnswer['workspace']> {
  const { rows: [record] } = await trx.raw<{ rows: (WantedAnswer['workspace'] & Pick<WorkspaceState, 'deliveryMode'>)[] }>(
    `select workspace_id as "workspaceId", org_id as "orgId", runtime, status, epoch, generation, delivery_mode as "deliveryMode"
     from workspace_records where workspace_id = ?`, [caller.workspaceId],
  );
  return checkCaller(caller, record);
}

async function answer(deps: WantedDeps, caller: BoxCaller, question: WantedQuestion, begun: DeliveryPlan | undefined): Promise<WantedAnswer> {
  const plan = await verified(deps, begun);
  const said = await tenantTx(deps.database, caller.orgId, async (trx) => {
    const workspace = await checkCurrent(trx, caller);
    const locked = await lockWorkspace(trx, caller.workspaceId);
    const current = plan ?? (locked && await resolveTemplateAssets(trx, locked.workspace.template, locked, { attempt: 0, n: 0 }, deps.options));
    const receipts = await readReceipts(trx, caller.workspaceId);
    const asides = plan === undefined || question.folders.length === 0 ? [] : await readAsides(trx, caller.workspaceId, question.folders);
    const serverTime = await readClock(trx);
    const access = await readAccess(trx, current, locked?.delivery);
    const lease = leaseOf(caller, current, locked?.delivery, access, serverTime);
    return { workspace, current, receipts, asides, serverTime, lease, access, lastWord: locked?.delivery.announced ?? null };
  });
  const scope = plan === undefined ? undefined : applyScope(plan, said.receipts);
  const { staged } = plan?.delivery ?? { staged: null };
  return {
    ...said, plan, wanted: said.current?.wanted, act: actOf(plan), code: said.current?.wanted.refusal?.code ?? null,
    tag: `${plan?.attempt ?? 0}.${plan?.n ?? 0}.${Math.floor((said.serverTime + offsetOf(caller)) / leaseRenewalMs)}`,
    removal: scope?.removal ?? [], denied: scope?.denied ?? [],
    adopt: staged !== null && plan !== undefined && plan.releases.length > 0 ? staged.attempt : null,
    lease: deps.leases === undefined ? null : await deps.leases.sign(said.lease),
  };
}

/** The first reading verifies the manifests, which belongs outside a transaction. What does not verify is failed here, as by a worker. */
async function verified(deps: WantedDeps, plan: DeliveryPlan | undefined): Promise<DeliveryPlan | undefined> {
  try {
    return plan?.releases && plan;
  } catch (error) {
    const failure = asFailure(error);
    if (plan === undefined || failure.kind !== 'subject') throw error;
    await failAttempt(deps, plan, failure);
    return undefined;
  }
}

function actOf(plan: DeliveryPlan | undefined): BoxAct {
  switch (plan?.decision.act) {
    case 'boot': case 'stage': case 'remove': return plan.decision.act;
    case 'confirm': return 'probe';
    case 'park': return 'discard';
    case 'ask': case undefined: return 'none';
  }
}

/** What it may keep: the wanted items, in the releases that are wanted or held. */
function leaseOf(
  { workspaceId, orgId }: BoxCaller, plan: DeliveryPlan | undefined, delivery: DeliveryState | undefined, access: ReadonlyMap<ItemId, string>, now: number,
): Lease {
  const items = plan?.wanted.items ?? [];
  const names = new Set(items.map((item) => item.itemId));
  const held = (delivery?.held ?? []).filter((release) => names.has(release.itemId));
  const byName = new Map([...items, ...held].map(({ itemId, version }) => [`${itemId}@${version}`, { itemId, version, access: access.get(itemId) ?? 'sold' }]));
  const issuedAt = Math.floor(now / 1_000);
  return { workspaceId, orgId, issuedAt, expiresAt: issuedAt + leaseSeconds, items: [...byName.values()] };
}

async function readAccess(trx: Transaction, plan: DeliveryPlan | undefined, delivery: DeliveryState | undefined): Promise<Map<ItemId, string>> {
  const ids = [...(plan?.wanted.items ?? []), ...(delivery?.held ?? [])].map((item) => item.itemId);
  const { rows } = await trx.raw<{ rows: { item_id: ItemId; access: string }[] }>('select item_id, access from items where item_id = any(?::text[])', [ids]);
  return new Map(rows.map((row) => [row.item_id, row.access]));
}
