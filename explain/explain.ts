import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { parseEventId, parseItemId, parseOrgId, parsePurchaseId, parseWorkspaceId, type ItemId, type OrgId, type PurchaseId } from '../schemas/ids.ts';
import { loadDecisions, type DecisionFacts } from './decisions.ts';
import { entitlementReason } from './entitlement-reason.ts';
import { loadEntitlements, loadEntitlementsAt, type EntitlementFacts } from './entitlement-facts.ts';
import { loadEventFacts, type EventFacts } from './event-facts.ts';
import { eventReason, type EventReason } from './event-reason.ts';
import type { ProducerOutbox } from './find-event.ts';
import { loadItemFacts, type ItemFacts } from './item-facts.ts';
import { reasonOf, type Reason } from './reason.ts';
import { withheldWords, type WithheldWords } from './withheld-words.ts';
import { itemsOf, loadWorkspaceFacts, type WorkspaceFacts } from './workspace-facts.ts';
import { loadWorkspaceFactsAt } from './workspace-past.ts';

/** An answer about a workspace: what is so, what was decided, oldest first, and why it is, or is not, ready. */
export interface WorkspaceExplanation extends WorkspaceFacts {
  readonly kind: 'workspace';
  readonly decisions: readonly DecisionFacts[];
  /** Each item that it asks for and does not get. */
  readonly withheld: readonly WithheldWords[];
  readonly reason: Reason;
}

/** An answer about what an org may have of an item, or about one line of it. */
export interface EntitlementExplanation extends Omit<EntitlementFacts, 'reason'> {
  readonly kind: 'entitlement';
  /** Why its last line ended, when none lives. */
  readonly ended: EntitlementFacts['reason'];
  readonly orgId: OrgId;
  readonly purchaseId: PurchaseId | null;
  readonly at: number;
  readonly isPast: boolean;
  readonly notKept: readonly string[];
  /** As the catalogue has it now; null: not in it. */
  readonly item: ItemFacts | null;
  /** Workspaces of the org that name or hold the item now. */
  readonly workspaces: number;
  readonly decisions: readonly DecisionFacts[];
  readonly reason: Reason;
}

export interface EventExplanation extends EventFacts {
  readonly kind: 'event';
  readonly reason: EventReason;
}

export type Explanation = WorkspaceExplanation | EntitlementExplanation | EventExplanation;

export interface ExplainOptions {
  /** Undefined: now. */
  readonly at?: Date | undefined;
  /** Outboxes of other teams that an event may stand in. */
  readonly producers: readonly ProducerOutbox[];
  /** How many of the newest decisions are told. */
  readonly decisionsMax: number;
}

/**
 * Says what was decided about a workspace (its full id), an entitlement (org/item, or org/item/purchase) or an event (its full
 * id), by which rules and from what cause (E3). Reads in the caller's transaction, which should see one snapshot.
 * @throws Failure input NOT_FOUND, USAGE; FieldError for what is no id
 */
export async function explain(trx: Transaction, subject: string, options: ExplainOptions): Promise<Explanation> {
  if (subject.includes('/')) return await explainEntitlement(trx, subject, options);
  // Workspaces and events have ids of one form: the workspace is looked for first.
  const workspaceId = parseWorkspaceId(subject, 'subject');
  const { at, producers, decisionsMax } = options;
  const now = await loadWorkspaceFacts(trx, workspaceId);
  if (now.record !== undefined || now.delivery !== undefined) {
    const facts = at === undefined ? now : await loadWorkspaceFactsAt(trx, workspaceId, at);
    const concerned = facts.record === undefined ? [] : itemsOf(facts.record, facts.delivery?.present ?? null);
    const decisions = await loadDecisions(trx, { workspaceId, itemIds: concerned, ...(facts.record && { orgId: facts.record.orgId }) }, at ?? null, decisionsMax);
    return { kind: 'workspace', ...facts, decisions, withheld: withheldWords(facts), reason: reasonOf(facts) };
  }
  if (at !== undefined) throw new Failure('input', 'USAGE', `${subject} is no workspace; an event is what it is at every time, so it is asked for without one`);
  const event = await loadEventFacts(trx, parseEventId(subject), producers);
  if (event === undefined) {
    const looked = ['waybill', ...producers.map(({ owner }) => owner)].join(', ');
    throw new Failure('input', 'NOT_FOUND', `Neither a workspace nor an event ${subject} is known here. Outboxes that were looked at: ${looked}.`, {
      cure: 'Check that the id is whole. An event that came late or twice changes nothing and leaves no row of its own: it is found in the outbox of its producer.',
    });
  }
  return { kind: 'event', ...event, reason: eventReason(event) };
}

async function explainEntitlement(trx: Transaction, subject: string, { at, decisionsMax }: ExplainOptions): Promise<EntitlementExplanation> {
  const [org, item, purchase, ...rest] = subject.split('/');
  if (rest.length > 0) throw new Failure('input', 'USAGE', `an entitlement is org/item or org/item/purchase, but this is ${JSON.stringify(subject.slice(0, 200))}`);
  const orgId = parseOrgId(org);
  const itemId = parseItemId(item);
  const purchaseId = purchase === undefined ? null : parsePurchaseId(purchase);
  const { facts, notKept } = await linesOf(trx, orgId, itemId, at);
  const lines = facts?.lines.filter((line) => purchaseId === null || line.purchaseId === purchaseId) ?? [];
  if (facts === undefined || lines.length === 0) {
    const when = at === undefined ? 'There is' : `At ${at.toISOString()} there was`;
    throw new Failure('input', 'NOT_FOUND', `${when} no line of ${subject}: it was never bought, or the purchase had not arrived.`, {
      cure: 'Check the ids, then the outbox of billing and its relay.',
    });
  }
  const [found] = await loadItemFacts(trx, [itemId], new Map([[itemId, facts.policy]]));
  const decisions = await loadDecisions(trx, { orgId, itemIds: [itemId] }, at ?? null, decisionsMax);
  const { rows: [holders] } = await trx.raw<{ rows: { workspaces: number }[] }>(
    'select count(distinct workspace_id)::integer as workspaces from workspace_items where org_id = ? and item_id = ?', [orgId, itemId]);
  const { rows: [clock] } = await trx.raw<{ rows: { now: Date }[] }>('select clock_timestamp() as now');
  const moment = (at ?? clock?.now ?? new Date(0)).getTime();
  const { reason: ended, ...entitlement } = facts;
  return {
    kind: 'entitlement', ...entitlement, ended, lines, orgId, purchaseId, at: moment, isPast: at !== undefined, notKept, item: found ?? null, workspaces: holders?.workspaces ?? 0,
    decisions: decisions.filter(({ subject: about }) => purchaseId === null || !about.startsWith('line ') || about === `line ${subject}`),
    reason: entitlementReason(facts, found, moment),
  };
}

async function linesOf(trx: Transaction, orgId: OrgId, itemId: ItemId, at: Date | undefined): Promise<{ facts: EntitlementFacts | undefined; notKept: readonly string[] }> {
  if (at === undefined) return { facts: (await loadEntitlements(trx, orgId, [itemId]))[0], notKept: [] };
  const { entitlements, notKept } = await loadEntitlementsAt(trx, orgId, [itemId], at);
  return { facts: entitlements[0], notKept };
}
