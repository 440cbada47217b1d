import fc from 'fast-check';

import { codes } from '../../schemas/codes.ts';
import * as symbols from '../../schemas/generated/events.ts';
import type { EventType } from '../../schemas/generated/events.ts';
import { longMax } from '../../schemas/ids.ts';

/** Generated events as JSON, valid by every rule of parse-event.ts: what a producer may put into an outbox. */

const known = <S extends string>(all: readonly S[]): fc.Arbitrary<S> => fc.constantFrom(...all.filter((symbol) => symbol !== 'unknown'));
const orNull = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null });

const uuid = fc.uuid();
const slug = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/u);
const channel = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,62}[a-z0-9])?$/u);
const part = fc.integer({ min: 0, max: 999_999_999 });
const version = fc.tuple(part, part, part).map((parts) => parts.join('.'));
const purchaseId = fc.stringMatching(/^[\x21-\x2e\x30-\x7e]{1,200}$/u);
const sha256 = fc.stringMatching(/^[0-9a-f]{64}$/u);
const count = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: longMax }), fc.constant(longMax));
const time = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
const int32 = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const path = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed() && Buffer.byteLength(text) <= 512);

const slugs = (minLength: number, maxLength: number): fc.Arbitrary<string[]> =>
  fc.uniqueArray(slug, { minLength, maxLength }).map((list) => list.toSorted());
const sorted = <T>(arbitrary: fc.Arbitrary<T>, key: (element: T) => string, maxLength: number, minLength = 0): fc.Arbitrary<T[]> =>
  fc.uniqueArray(arbitrary, { minLength, maxLength, selector: key }).map((list) => list.toSorted((a, b) => (key(a) < key(b) ? -1 : 1)));
const itemOf = (element: { item_id: string }): string => element.item_id;

const envelope = { event_id: uuid, occurred_at: time, caused_by: orNull(uuid), run_id: orNull(uuid) };
const validity = fc.tuple(time, orNull(fc.integer({ min: 1, max: 10 ** 12 })))
  .map(([valid_from, length]) => ({ valid_from, valid_until: length === null ? null : Math.min(valid_from + length, Date.UTC(9999, 11, 31, 23)) }));
const line = {
  ...envelope, org_id: uuid, item_id: slug, purchase_id: purchaseId, entitlement_version: count,
  source: known(symbols.entitlementSourceSymbols), policy: fc.oneof(version, channel),
};
const workspace = fc.record({
  ...envelope, workspace_id: uuid, org_id: uuid, runtime: slug, template: orNull(slug), plugins: slugs(0, 100),
  status: known(symbols.workspaceStatusSymbols), delivery_mode: known(symbols.deliveryModeSymbols), epoch: count, generation: count,
  record_version: count, origin: known(symbols.recordOriginSymbols),
});
const assets = { ...envelope, workspace_id: uuid, org_id: uuid, assets_version: count };
const code = fc.constantFrom(...Object.keys(codes));

const entitlement = fc.record({
  ...envelope, org_id: uuid, item_id: slug, entitled: fc.boolean(), policy: fc.oneof(version, channel), valid_until: orNull(time),
  lines: sorted(fc.record({ purchase_id: purchaseId, entitlement_version: count, live: fc.boolean() }), (row) => row.purchase_id, 20),
  reason: orNull(known(symbols.entitlementEndSymbols)), entitlement_revision: count,
}).map((event) => (event.entitled
  ? { ...event, reason: null }
  : { ...event, policy: null, valid_until: null, lines: event.lines.map((row) => ({ ...row, live: false })) }));

const ready = fc.record({
  ...assets, epoch: count, generation: count, set_digest: sha256, template: orNull(slug),
  items: sorted(fc.record({ item_id: slug, kind: known(symbols.itemKindSymbols), seller_id: slug, version, archive_sha256: sha256, files: int32, bytes: fc.integer({ min: 0, max: longMax }) }), itemOf, 10),
  withheld: sorted(fc.record({ item_id: slug, code }), itemOf, 10),
  probe_paths: fc.array(path, { maxLength: 5 }), user_files_sha256: sha256, user_files_paths: sorted(path, (text) => text, 10),
}).map((event) => ({
  ...event,
  user_files_count: event.user_files_paths.length,
  user_files_sha256: event.user_files_paths.length === 0 ? null : event.user_files_sha256,
}));

const arbitraries: { readonly [E in EventType]: fc.Arbitrary<object> } = {
  Purchase: fc.tuple(fc.record(line), validity).map(([rest, times]) => ({ ...rest, ...times })),
  Revoke: fc.tuple(fc.record({ ...line, ended_at: time, reason: known(symbols.revokeReasonSymbols) }), validity).map(([rest, times]) => ({ ...rest, ...times })),
  WorkspaceProvisioned: workspace,
  TemplateChanged: workspace,
  PluginsChanged: workspace,
  WorkspaceStatusChanged: workspace,
  ItemChanged: fc.record({ ...envelope, item_id: slug, kind: known(symbols.itemKindSymbols), seller_id: slug, access: known(symbols.itemAccessSymbols), runtimes: slugs(1, 10), catalogue_version: count }),
  ReleaseChanged: fc.record({ ...envelope, item_id: slug, version, status: known(symbols.releaseStatusSymbols), archive_sha256: sha256, archive_bytes: int32, files: int32, catalogue_version: count }),
  ChannelMoved: fc.record({ ...envelope, item_id: slug, channel, version, catalogue_version: count }),
  EntitlementChanged: entitlement,
  AssetsReady: ready,
  AssetsRejected: fc.record({ ...assets, epoch: count, generation: count, item_id: orNull(slug), code, attempts: int32 }),
  AssetsRevoked: fc.record({ ...assets, items: sorted(fc.record({ item_id: slug, version }), itemOf, 10, 1), reason: known(symbols.revocationReasonSymbols), effect: known(symbols.revocationEffectSymbols) }),
  RestartRequested: fc.record({ ...assets, epoch: count, set_digest: sha256, not_before: time, reason: known(symbols.restartReasonSymbols) }),
};

export const arbitraryEvent = (type: EventType): fc.Arbitrary<object> => arbitraries[type];
