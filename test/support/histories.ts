import fc from 'fast-check';

import type { RecordEvent } from '../../delivery/workspace-record.ts';
import type { LineEvent } from '../../entitlements/line.ts';
import { deriveEventId, parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseWorkspaceId } from '../../schemas/ids.ts';

/** Small pools, so that generated histories meet: several lines a pair, equal versions with other content, tombstones. */
export const orgs = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'].map((id) => parseOrgId(id));
export const items = ['seo-agent', 'house-rules', 'support-agent'].map((id) => parseItemId(id));
export const workspaces = ['1', '2', '3'].map((n) => parseWorkspaceId(`00000000-0000-4000-8000-0000000001${n.padStart(2, '0')}`));
const purchases = ['p-1', 'p-2'].map((id) => parsePurchaseId(id));

/** 2026-01-01; what tests call now when they need no real clock. */
export const noon = Date.UTC(2026, 0, 1, 12);
const hour = 3_600_000;

/** A purchase, one hour old and without end, as billing would publish it. */
export function purchase(
  fields: Partial<Extract<LineEvent, { type: 'Purchase' }>['event']> = {},
): Extract<LineEvent, { type: 'Purchase' }> {
  const event = {
    occurred_at: noon, caused_by: null, run_id: null, org_id: orgs[0] ?? parseOrgId(''), item_id: items[0] ?? parseItemId(''),
    purchase_id: parsePurchaseId('p-1'), entitlement_version: 1, source: 'purchase' as const, policy: parsePolicy('stable'),
    valid_from: noon - hour, valid_until: null, ...fields,
  };
  const content = JSON.stringify([event.source, event.policy, event.valid_from, event.valid_until]);
  const id = deriveEventId('Purchase', `${event.org_id}/${event.item_id}/${event.purchase_id}/${content}`, event.entitlement_version);
  return { type: 'Purchase', event: { event_id: id, ...event } };
}

/** A revocation of the same line. */
export function revoke(fields: Partial<Extract<LineEvent, { type: 'Revoke' }>['event']> = {}): Extract<LineEvent, { type: 'Revoke' }> {
  const { ended_at = noon, reason = 'refund', ...line } = fields;
  const { event } = purchase({ entitlement_version: 2, ...line });
  const id = deriveEventId('Revoke', `${event.event_id}/${ended_at}/${reason}`, event.entitlement_version);
  return { type: 'Revoke', event: { ...event, event_id: fields.event_id ?? id, ended_at, reason } };
}

/** A provisioned workspace with neither template nor plugins, as the control plane would publish it. */
export function provisioned(fields: Partial<RecordEvent['event']> = {}): RecordEvent {
  const event = {
    occurred_at: noon, caused_by: null, run_id: null, workspace_id: workspaces[0] ?? parseWorkspaceId(''), org_id: orgs[0] ?? parseOrgId(''),
    runtime: parseRuntimeId('claude-code'), template: null, plugins: [], status: 'provisioning' as const, delivery_mode: 'volume' as const,
    epoch: 1, generation: 1, record_version: 1, origin: 'user' as const, ...fields,
  };
  const id = deriveEventId('WorkspaceProvisioned', JSON.stringify(event), event.record_version);
  return { type: 'WorkspaceProvisioned', event: { event_id: id, ...event } };
}

const moment = fc.integer({ min: -4, max: 4 }).map((hours) => noon + hours * hour);

const line = fc.record({
  // Mostly one pair, so that short histories have conflicts too.
  org_id: fc.constantFrom(...orgs.slice(0, 1), ...orgs),
  item_id: fc.constantFrom(...items.slice(0, 1), ...items.slice(0, 2)),
  purchase_id: fc.constantFrom(...purchases),
  entitlement_version: fc.integer({ min: 1, max: 3 }),
  source: fc.constantFrom('purchase' as const, 'subscription' as const, 'grant' as const),
  policy: fc.constantFrom('stable', 'beta', '1.0.0', '1.10.0', '1.9.0').map((policy) => parsePolicy(policy)),
  valid_from: moment,
});

/** One event of a line: any version, live or revoked, any content; two of them may well claim the same version. */
export const lineEvent: fc.Arbitrary<LineEvent> = fc
  .tuple(line, fc.option(fc.integer({ min: 1, max: 6 })), fc.option(fc.tuple(moment, fc.constantFrom('refund' as const, 'fraud' as const, 'non_payment' as const))))
  .map(([fields, hours, end]) => {
    const whole = { ...fields, valid_until: hours === null ? null : fields.valid_from + hours * hour };
    return end === null ? purchase(whole) : revoke({ ...whole, ended_at: end[0], reason: end[1] });
  });

/** One event of a workspace: any version, any content. */
export const recordEvent: fc.Arbitrary<RecordEvent> = fc
  .record({
    workspace_id: fc.constantFrom(...workspaces),
    org_id: fc.constantFrom(...orgs),
    template: fc.option(fc.constantFrom(...items)),
    plugins: fc.subarray(items).map((names) => names.toSorted()),
    status: fc.constantFrom('provisioning' as const, 'online' as const, 'paused' as const, 'removed' as const),
    epoch: fc.integer({ min: 1, max: 3 }),
    generation: fc.integer({ min: 1, max: 3 }),
    record_version: fc.integer({ min: 1, max: 3 }),
  })
  .map((fields) => provisioned(fields));

/** A history, and the same events in another order with some repeated: every fold of the two must agree (I1). */
export const historyTwice = <E>(event: fc.Arbitrary<E>, maxLength = 40): fc.Arbitrary<{ first: E[]; second: E[] }> =>
  fc.array(event, { maxLength }).chain((first) => fc.record({
    first: fc.constant(first),
    second: fc
      .tuple(fc.shuffledSubarray(first, { minLength: first.length }), fc.subarray(first), fc.subarray(first))
      .chain(([shuffled, again, late]) => fc.shuffledSubarray([...shuffled, ...again], { minLength: first.length + again.length }).map((all) => [...all, ...late])),
  }));
