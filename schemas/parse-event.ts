import {
  deliveryModeSymbols, entitlementEndSymbols, entitlementSourceSymbols, itemAccessSymbols, itemKindSymbols, recordOriginSymbols, releaseStatusSymbols,
  restartReasonSymbols, revocationEffectSymbols, revocationReasonSymbols, revokeReasonSymbols, workspaceStatusSymbols,
} from './generated/events.ts';
import type {
  AssetsReady, AssetsRejected, AssetsRevoked, ChannelMoved, DeliveredItem, EntitlementChanged, EntitlementLine, EventByType, EventType, ItemChanged, Purchase,
  ReleaseChanged, RestartRequested, RevokedItem, Revoke, WithheldItem, WorkspaceProvisioned,
} from './generated/events.ts';
import { boolean, bytes, code, count, eventIdOrNull, list, nullable, path, record, symbolOf, time, type Parser, type Reading } from './field-parsers.ts';
import {
  FieldError, parseChannel, parseCount, parseEventId, parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseSellerId, parseSha256,
  parseVersion, parseWorkspaceId,
} from './ids.ts';
import type { TypedEvent } from './topics.ts';

/** Plugins of one workspace. */
export const pluginsMax = 100;
/** What one workspace can be delivered: its plugins and a template. */
const deliveredMax = pluginsMax + 1;
const linesMax = 100;
const runtimesMax = 100;
const userPathsMax = 100;
/** Bounds the rest of the lists; the 256 KiB of an event are reached before. */
const listMax = 1000;

const self = (text: string): string => text;
const byItem = (element: { readonly item_id: string }): string => element.item_id;

const envelope = { event_id: parseEventId, occurred_at: time, caused_by: eventIdOrNull, run_id: eventIdOrNull };

const line = {
  ...envelope,
  org_id: parseOrgId,
  item_id: parseItemId,
  purchase_id: parsePurchaseId,
  entitlement_version: parseCount,
  source: symbolOf(entitlementSourceSymbols),
  policy: parsePolicy,
  valid_from: time,
  valid_until: nullable(time),
};

function checkValidity({ valid_from, valid_until }: Purchase): void {
  if (valid_until !== null && valid_until <= valid_from) throw new FieldError('valid_until', `null or after valid_from (${valid_from})`, valid_until);
}

const workspaceRecord = record<WorkspaceProvisioned>({
  ...envelope,
  workspace_id: parseWorkspaceId,
  org_id: parseOrgId,
  runtime: parseRuntimeId,
  template: nullable(parseItemId),
  plugins: list(parseItemId, { max: pluginsMax, sortKey: self }),
  status: symbolOf(workspaceStatusSymbols),
  delivery_mode: symbolOf(deliveryModeSymbols),
  epoch: parseCount,
  generation: parseCount,
  record_version: parseCount,
  origin: symbolOf(recordOriginSymbols),
});

const assets = { ...envelope, workspace_id: parseWorkspaceId, org_id: parseOrgId, assets_version: parseCount };

const deliveredItem = record<DeliveredItem>({
  item_id: parseItemId,
  kind: symbolOf(itemKindSymbols),
  seller_id: parseSellerId,
  version: parseVersion,
  archive_sha256: parseSha256,
  files: count,
  bytes,
});

function checkUserFiles({ user_files_count, user_files_sha256, user_files_paths }: AssetsReady): void {
  const listed = Math.min(user_files_count, userPathsMax);
  if (user_files_paths.length !== listed) throw new FieldError('user_files_paths', `the first ${listed} of ${user_files_count} paths`, `${user_files_paths.length} paths`);
  if ((user_files_sha256 === null) !== (user_files_count === 0)) throw new FieldError('user_files_sha256', 'null exactly when user_files_count is 0', user_files_sha256);
}

function checkEntitled({ entitled, policy, valid_until, lines, reason }: EntitlementChanged): void {
  if (entitled !== (policy !== null)) throw new FieldError('policy', 'null exactly when not entitled', policy);
  if (!entitled && valid_until !== null) throw new FieldError('valid_until', 'null when not entitled', valid_until);
  if (entitled && reason !== null) throw new FieldError('reason', 'null while entitled', reason);
  if (!entitled && lines.some(({ live }) => live)) throw new FieldError('entitled', 'true while a line is live', entitled);
}

/** What each field of each event may hold. The shape is held to the generated types; the rules stand in the schemas' docs. */
const parsers: { readonly [E in EventType]: Parser<EventByType[E]> } = {
  Purchase: record<Purchase>(line, checkValidity),
  Revoke: record<Revoke>({ ...line, ended_at: time, reason: symbolOf(revokeReasonSymbols) }, checkValidity),
  WorkspaceProvisioned: workspaceRecord,
  TemplateChanged: workspaceRecord,
  PluginsChanged: workspaceRecord,
  WorkspaceStatusChanged: workspaceRecord,
  ItemChanged: record<ItemChanged>({
    ...envelope,
    item_id: parseItemId,
    kind: symbolOf(itemKindSymbols),
    seller_id: parseSellerId,
    access: symbolOf(itemAccessSymbols),
    runtimes: list(parseRuntimeId, { min: 1, max: runtimesMax, sortKey: self }),
    catalogue_version: parseCount,
  }),
  ReleaseChanged: record<ReleaseChanged>({
    ...envelope,
    item_id: parseItemId,
    version: parseVersion,
    status: symbolOf(releaseStatusSymbols),
    archive_sha256: parseSha256,
    archive_bytes: bytes,
    files: count,
    catalogue_version: parseCount,
  }),
  ChannelMoved: record<ChannelMoved>({ ...envelope, item_id: parseItemId, channel: parseChannel, version: parseVersion, catalogue_version: parseCount }),
  EntitlementChanged: record<EntitlementChanged>({
    ...envelope,
    org_id: parseOrgId,
    item_id: parseItemId,
    entitled: boolean,
    policy: nullable(parsePolicy),
    valid_until: nullable(time),
    lines: list(
      record<EntitlementLine>({ purchase_id: parsePurchaseId, entitlement_version: parseCount, live: boolean }),
      { max: linesMax, sortKey: ({ purchase_id }) => purchase_id },
    ),
    reason: nullable(symbolOf(entitlementEndSymbols)),
    entitlement_revision: parseCount,
  }, checkEntitled),
  AssetsReady: record<AssetsReady>({
    ...assets,
    epoch: parseCount,
    generation: parseCount,
    set_digest: parseSha256,
    template: nullable(parseItemId),
    items: list(deliveredItem, { max: deliveredMax, sortKey: byItem }),
    withheld: list(record<WithheldItem>({ item_id: parseItemId, code }), { max: deliveredMax, sortKey: byItem }),
    probe_paths: list(path, { max: listMax }),
    user_files_count: count,
    user_files_sha256: nullable(parseSha256),
    user_files_paths: list(path, { max: userPathsMax, sortKey: self }),
  }, checkUserFiles),
  AssetsRejected: record<AssetsRejected>({ ...assets, epoch: parseCount, generation: parseCount, item_id: nullable(parseItemId), code, attempts: count }),
  AssetsRevoked: record<AssetsRevoked>({
    ...assets,
    // An item may stand here in two versions: what is held during an apply is the union of before and after.
    items: list(record<RevokedItem>({ item_id: parseItemId, version: parseVersion }), { min: 1, max: listMax, sortKey: byItem, repeats: true }),
    reason: symbolOf(revocationReasonSymbols),
    effect: symbolOf(revocationEffectSymbols),
  }),
  RestartRequested: record<RestartRequested>({ ...assets, epoch: parseCount, set_digest: parseSha256, not_before: time, reason: symbolOf(restartReasonSymbols) }),
};

/**
 * In: the type of an event and its JSON value, from anywhere. Out: the event with branded ids; exactly the fields of its
 * schema, each within its bounds. Nothing is put right on the way: sorting and filling in are the producer's.
 * FieldError names the first field that is wrong; its `code` is LONG_OVERFLOW for a number beyond `longMax`.
 */
export function parseEvent<E extends EventType>(type: E, value: unknown, reading: Reading = 'strict'): TypedEvent<E> {
  return { type, event: parsers[type](value, '', reading) };
}
