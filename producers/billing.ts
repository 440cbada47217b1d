import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { migrate } from '../process/migrate.ts';
import { revokeReasonSymbols, entitlementSourceSymbols, type EntitlementSource, type RevokeReason } from '../schemas/generated/events.ts';
import { symbolOf, time } from '../schemas/field-parsers.ts';
import { deriveEventId, FieldError, parseItemId, parseOrgId, parsePolicy, parsePurchaseId } from '../schemas/ids.ts';
import type { TypedEvent } from '../schemas/topics.ts';
import { parseCause, type Cause } from './cause.ts';
import { checkInput } from './check-input.ts';
import { readJson, requireTransaction } from './json-row.ts';
import { decidePurchase, decideRevoke, type Line, type LineDecision, type LineKey, type LineTerms } from './mint-line.ts';
import { appendEvents } from './outbox.ts';

/** What was bought: the terms of a line in the words of its events. Moments are milliseconds since the epoch. */
export interface TermsInput {
  readonly source: Exclude<EntitlementSource, 'unknown'>;
  /** An exact version x.y.z, or the name of a channel such as `stable`. */
  readonly policy: string;
  readonly valid_from: number;
  /** null: no end. */
  readonly valid_until: number | null;
}

/** Which line. A re-buy is another line, with a purchase_id of its own. */
export interface LineInput {
  readonly org_id: string;
  readonly item_id: string;
  readonly purchase_id: string;
}

export interface RevokeInput extends LineInput {
  readonly reason: Exclude<RevokeReason, 'unknown'>;
  /** Milliseconds since the epoch; default: now, by the database's clock. */
  readonly ended_at?: number;
  /** Needed only for a purchase that billing has not seen yet: its revocation is kept, and the late purchase stays revoked. */
  readonly terms?: TermsInput;
}

export interface BillingOptions extends Cause {
  /** The version of a team that mints its own; it has to be greater than the line's current one. Default: the next. */
  readonly entitlementVersion?: number;
}

export type LineResult =
  | { readonly outcome: 'minted'; readonly line: Line; readonly event: TypedEvent<'Purchase' | 'Revoke'> }
  | { readonly outcome: 'unchanged'; readonly line: Line }
  | { readonly outcome: 'refused'; readonly code: 'REVOKED'; readonly message: string };

/** Brings billing's database to the newest version of its tables and SQL functions. Returns the migrations that ran. */
export const installBilling = async (database: Database): Promise<string[]> => await migrate(database, ['outbox', 'billing']);

/**
 * A purchase, renewal or change of terms, in the caller's transaction: mints the line's next version and appends the
 * event (A4, A5). The same again mints nothing. A purchase_id that was revoked is `refused`, as a result and not an error,
 * because a webhook's late purchase after its refund is no fault of anybody (A6).
 * Throws input: FIELD_INVALID, LONG_OVERFLOW, STALE_VERSION.
 */
export async function purchase(trx: Transaction, input: LineInput & TermsInput, options: BillingOptions = {}): Promise<LineResult> {
  const asked = checkInput(() => ({ ...parseKey(input), ...parseTerms(input) }));
  return await mintLine(trx, asked, options, (current) => decidePurchase(current, asked, options.entitlementVersion));
}

/**
 * The end of a line, in the caller's transaction: mints its next version as a tombstone for ever and appends the event.
 * The same or a milder reason again mints nothing; a severer one (a refund that turns out to be fraud) does (C13).
 * Throws input: FIELD_INVALID, LONG_OVERFLOW, STALE_VERSION; NOT_FOUND for an unknown purchase without `terms`.
 */
export async function revoke(trx: Transaction, input: RevokeInput, options: BillingOptions = {}): Promise<LineResult> {
  const asked = checkInput(() => ({
    ...parseKey(input),
    reason: parseReason(input.reason, 'reason', 'strict'),
    ended_at: input.ended_at === undefined ? undefined : time(input.ended_at, 'ended_at', 'strict'),
    terms: input.terms && parseTerms(input.terms),
  }));
  return await mintLine(trx, asked, options, (current, now) => decideRevoke(current, { ...asked, ended_at: asked.ended_at ?? now }, options.entitlementVersion));
}

const parseReason = symbolOf(revokeReasonSymbols);
const parseSource = symbolOf(entitlementSourceSymbols);

const parseKey = ({ org_id, item_id, purchase_id }: LineInput): LineKey =>
  ({ org_id: parseOrgId(org_id), item_id: parseItemId(item_id), purchase_id: parsePurchaseId(purchase_id) });

function parseTerms({ source, policy, valid_from, valid_until }: TermsInput): LineTerms {
  const terms = {
    source: parseSource(source, 'source', 'strict'),
    policy: parsePolicy(policy),
    valid_from: time(valid_from, 'valid_from', 'strict'),
    valid_until: valid_until === null ? null : time(valid_until, 'valid_until', 'strict'),
  };
  if (terms.valid_until !== null && terms.valid_until <= terms.valid_from) {
    throw new FieldError('valid_until', `null or after valid_from (${terms.valid_from})`, terms.valid_until);
  }
  return terms;
}

/** Lock, decide, write, append; once more when another transaction inserted the same line in between. */
async function mintLine(
  trx: Transaction, key: LineKey, options: BillingOptions, decide: (current: Line | undefined, now: number) => LineDecision,
): Promise<LineResult> {
  requireTransaction(trx);
  const cause = parseCause(options);
  for (;;) {
    const { current, now } = await lockLine(trx, key);
    const decision = checkInput(() => decide(current, now));
    if (decision.outcome === 'refused') {
      if (decision.code === 'REVOKED') return { outcome: 'refused', code: decision.code, message: decision.message };
      throw new Failure('input', decision.code, decision.message);
    }
    const { line } = decision;
    if (decision.outcome === 'unchanged') return { outcome: 'unchanged', line };
    if (!(await putLine(trx, current, line))) continue;
    const event = eventOf(line, { ...cause, occurred_at: now });
    await appendEvents(trx, [event], { traceparent: options.traceparent });
    return { outcome: 'minted', line, event };
  }
}

function eventOf(line: Line, about: { caused_by: string | null; run_id: string | null; occurred_at: number }): TypedEvent<'Purchase' | 'Revoke'> {
  const name = `${line.org_id}/${line.item_id}/${line.purchase_id}`;
  const id = (type: 'Purchase' | 'Revoke'): { event_id: string } => ({ event_id: deriveEventId(type, name, line.entitlement_version) });
  return 'ended_at' in line
    ? { type: 'Revoke', event: { ...line, ...about, ...id('Revoke') } }
    : { type: 'Purchase', event: { ...line, ...about, ...id('Purchase') } };
}

/** The line under its row lock, and the database's clock in milliseconds. */
async function lockLine(trx: Transaction, { org_id, item_id, purchase_id }: LineKey): Promise<{ current: Line | undefined; now: number }> {
  const read = await readJson(
    trx,
    `select json_build_object('now', waybill_millis(clock_timestamp()), 'line', (
       select waybill_line_json(l) from waybill_lines l
       where l.org_id = :org_id and l.item_id = :item_id and l.purchase_id = :purchase_id for update))::text as r`,
    { org_id, item_id, purchase_id },
  );
  const { line, now } = read as { line: Line | null; now: number }; // written by this file and its SQL twin alone
  return { current: line ?? undefined, now };
}

/** Writes a minted line. False when it was to be new and another transaction has inserted it meanwhile. */
async function putLine(trx: Transaction, current: Line | undefined, line: Line): Promise<boolean> {
  const ended = 'ended_at' in line ? line : { ended_at: null, reason: null };
  const bindings = { ...line, ...ended };
  if (current !== undefined) {
    await trx.raw(
      `update waybill_lines set entitlement_version = :entitlement_version, source = :source, policy = :policy,
         valid_from = waybill_moment(:valid_from), valid_until = waybill_moment(:valid_until),
         ended_at = waybill_moment(:ended_at), reason = :reason
       where org_id = :org_id and item_id = :item_id and purchase_id = :purchase_id`, bindings,
    );
    return true;
  }
  const inserted = await readJson(
    trx,
    `with inserted as (
       insert into waybill_lines (org_id, item_id, purchase_id, entitlement_version, source, policy, valid_from, valid_until, ended_at, reason)
       values (:org_id, :item_id, :purchase_id, :entitlement_version, :source, :policy, waybill_moment(:valid_from),
         waybill_moment(:valid_until), waybill_moment(:ended_at), :reason)
       on conflict do nothing returning 1)
     select count(*)::text as r from inserted`, bindings,
  );
  return inserted === 1;
}
