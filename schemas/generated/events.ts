// Generated from events/*.avsc by `npm run schemas:generate`. Do not edit.
import type { Channel, ItemId, OrgId, Policy, PurchaseId, RuntimeId, SellerId, Sha256, Version, WorkspaceId } from '../ids.ts';


/** What an item is. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type ItemKind = 'template' | 'plugin' | 'unknown';
export const itemKindSymbols: readonly ItemKind[] = ['template', 'plugin', 'unknown'];

/** One delivered item. */
export interface DeliveredItem {
  /** The item. */
  readonly item_id: ItemId;
  /** Template or plugin. */
  readonly kind: ItemKind;
  /** Its seller. */
  readonly seller_id: SellerId;
  /** Version of the release. */
  readonly version: Version;
  /** Digest of the canonical archive, 64 hex digits. */
  readonly archive_sha256: Sha256;
  /** Files delivered. */
  readonly files: number;
  /** Bytes delivered. */
  readonly bytes: number;
}

/** One item that was not delivered. */
export interface WithheldItem {
  /** The item. */
  readonly item_id: ItemId;
  /** Why; a code of the table of codes. */
  readonly code: string;
}

/** The workspace holds exactly its wanted set and a probe has read it. Key: workspace_id. */
export interface AssetsReady {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** Minted by waybill per workspace; grows with every event of this topic (I6). */
  readonly assets_version: number;
  /** The epoch that this is about. */
  readonly epoch: number;
  /** The generation that this is about. */
  readonly generation: number;
  /** SHA-256 over the sorted (item, version, archive digest), 64 hex digits. */
  readonly set_digest: Sha256;
  /** Item id of the template, or null. */
  readonly template: ItemId | null;
  /** Every delivered item, sorted by item_id. */
  readonly items: readonly DeliveredItem[];
  /** What the record asks for and was not delivered, sorted by item_id (C10). */
  readonly withheld: readonly WithheldItem[];
  /** Paths below the volume that the probe read (C9). */
  readonly probe_paths: readonly string[];
  /** Files of the user that were kept where a file of ours would be (C8). */
  readonly user_files_count: number;
  /** SHA-256 over their sorted paths, or null when there are none. */
  readonly user_files_sha256: Sha256 | null;
  /** The first 100 of their paths, sorted. */
  readonly user_files_paths: readonly string[];
}

/** The workspace cannot be brought to what its record asks for, until something changes. Key: workspace_id. */
export interface AssetsRejected {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** Minted by waybill per workspace; grows with every event of this topic (I6). */
  readonly assets_version: number;
  /** The epoch that this is about. */
  readonly epoch: number;
  /** The generation that this is about. */
  readonly generation: number;
  /** The item that is refused, or null when it is not one item. */
  readonly item_id: ItemId | null;
  /** Why; a code of the table of codes. */
  readonly code: string;
  /** Attempts made so far. */
  readonly attempts: number;
}

/** One item taken away. */
export interface RevokedItem {
  /** The item. */
  readonly item_id: ItemId;
  /** Version of the release. */
  readonly version: Version;
}

/** Why something is taken away. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type RevocationReason = 'expired' | 'refund' | 'non_payment' | 'fraud' | 'malware' | 'operator' | 'quarantined' | 'unknown';
export const revocationReasonSymbols: readonly RevocationReason[] = ['expired', 'refund', 'non_payment', 'fraud', 'malware', 'operator', 'quarantined', 'unknown'];

/** What happens to what was delivered. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type RevocationEffect = 'next_boot' | 'restart_requested' | 'removal_pending' | 'removed' | 'unknown';
export const revocationEffectSymbols: readonly RevocationEffect[] = ['next_boot', 'restart_requested', 'removal_pending', 'removed', 'unknown'];

/** Something that the workspace held was taken away, or must be. Key: workspace_id. */
export interface AssetsRevoked {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** Minted by waybill per workspace; grows with every event of this topic (I6). */
  readonly assets_version: number;
  /** What is taken away, sorted by item_id. */
  readonly items: readonly RevokedItem[];
  /** Why (C13). */
  readonly reason: RevocationReason;
  /** What happens to what was delivered. */
  readonly effect: RevocationEffect;
}

/** A channel of an item points to another release. Key: item_id. */
export interface ChannelMoved {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The template or plugin. */
  readonly item_id: ItemId;
  /** Name of the channel. */
  readonly channel: Channel;
  /** Version of the release it points to. */
  readonly version: Version;
  /** Minted by waybill per item; only grows. */
  readonly catalogue_version: number;
}

/** One line behind the decision. */
export interface EntitlementLine {
  /** The purchase. */
  readonly purchase_id: PurchaseId;
  /** Version of the line. */
  readonly entitlement_version: number;
  /** Whether it is live. */
  readonly live: boolean;
}

/** Why no line is live. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type EntitlementEnd = 'expired' | 'refund' | 'non_payment' | 'fraud' | 'malware' | 'operator' | 'unknown';
export const entitlementEndSymbols: readonly EntitlementEnd[] = ['expired', 'refund', 'non_payment', 'fraud', 'malware', 'operator', 'unknown'];

/** Whether an org is entitled to an item, after its lines changed or time passed. Key: org_id/item_id. */
export interface EntitlementChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The tenant. */
  readonly org_id: OrgId;
  /** The template or plugin. */
  readonly item_id: ItemId;
  /** True while any line is live. */
  readonly entitled: boolean;
  /** Effective policy of the live lines (a channel before a pin, then the newest release), or null when none is live. */
  readonly policy: Policy | null;
  /** When the last live line ends; null: no end, or not entitled. */
  readonly valid_until: number | null;
  /** All lines of the pair, sorted by purchase_id; at most 100. */
  readonly lines: readonly EntitlementLine[];
  /** Why no line is live (C13), or null while entitled. */
  readonly reason: EntitlementEnd | null;
  /** Minted by waybill per org and item; only grows. */
  readonly entitlement_revision: number;
}

/** Who may have an item. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type ItemAccess = 'open' | 'platform' | 'sold' | 'unknown';
export const itemAccessSymbols: readonly ItemAccess[] = ['open', 'platform', 'sold', 'unknown'];

/** An item was registered or changed. Key: item_id. */
export interface ItemChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The template or plugin. */
  readonly item_id: ItemId;
  /** Template or plugin. */
  readonly kind: ItemKind;
  /** Who publishes the item. */
  readonly seller_id: SellerId;
  /** open: anyone. platform: every org, our own. sold: needs an entitlement. */
  readonly access: ItemAccess;
  /** Runtimes that the item supports; sorted. */
  readonly runtimes: readonly RuntimeId[];
  /** Minted by waybill per item; only grows. */
  readonly catalogue_version: number;
}

/** What the control plane has the workspace do. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type WorkspaceStatus = 'provisioning' | 'online' | 'paused' | 'hibernated' | 'removed' | 'failed' | 'unknown';
export const workspaceStatusSymbols: readonly WorkspaceStatus[] = ['provisioning', 'online', 'paused', 'hibernated', 'removed', 'failed', 'unknown'];

/** Who does the file work. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type DeliveryMode = 'volume' | 'box' | 'unknown';
export const deliveryModeSymbols: readonly DeliveryMode[] = ['volume', 'box', 'unknown'];

/** Who made the change. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type RecordOrigin = 'user' | 'backfill' | 'rollback' | 'import' | 'system' | 'unknown';
export const recordOriginSymbols: readonly RecordOrigin[] = ['user', 'backfill', 'rollback', 'import', 'system', 'unknown'];

/** Plugins of a workspace were installed or uninstalled. Carries the whole record as it now stands; the type only says what changed. Key: workspace_id. */
export interface PluginsChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** The engine (image). Authoritative for the engine and its config root, for nothing else (C5). */
  readonly runtime: RuntimeId;
  /** Item id of the template, or null: derive from the runtime as before templates existed (C6). */
  readonly template: ItemId | null;
  /** Item ids of the plugins; sorted, without repeats, at most 100. */
  readonly plugins: readonly ItemId[];
  /** What the control plane has the workspace do. Files go live only while provisioning (C11). */
  readonly status: WorkspaceStatus;
  /** volume: waybill writes the mounted volume. box: the workspace's agent does. */
  readonly delivery_mode: DeliveryMode;
  /** Boot number: bumped at every provision and every restart; positive. */
  readonly epoch: number;
  /** Bumped when what should be delivered may change (template, plugins, runtime); positive. */
  readonly generation: number;
  /** Bumped at every change of the record; positive. Orders the events of the workspace (A6). */
  readonly record_version: number;
  /** Who made the change. */
  readonly origin: RecordOrigin;
}

/** Where the line comes from. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type EntitlementSource = 'purchase' | 'subscription' | 'grant' | 'internal' | 'unknown';
export const entitlementSourceSymbols: readonly EntitlementSource[] = ['purchase', 'subscription', 'grant', 'internal', 'unknown'];

/** A line of entitlement as it now stands: the whole line, never a delta. Key: org_id/item_id. */
export interface Purchase {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The tenant: the control plane's org id. */
  readonly org_id: OrgId;
  /** The template or plugin that was bought. */
  readonly item_id: ItemId;
  /** The purchase, subscription or grant; a re-buy has a new one. 1 to 200 printable characters. */
  readonly purchase_id: PurchaseId;
  /** Version of this line, minted by billing; positive, only grows, at most 2^53 - 2. Orders the events of the line (A6). */
  readonly entitlement_version: number;
  /** Where the line comes from. */
  readonly source: EntitlementSource;
  /** Which release the line entitles to: an exact version x.y.z pins it, anything else is the name of a channel, such as `stable`. */
  readonly policy: Policy;
  /** Not entitled before this moment, by the database's clock (A7). */
  readonly valid_from: number;
  /** Not entitled from this moment on, by the database's clock; null: no end (A7). */
  readonly valid_until: number | null;
}

/** Life of a release. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type ReleaseStatus = 'submitted' | 'approved' | 'yanked' | 'quarantined' | 'unknown';
export const releaseStatusSymbols: readonly ReleaseStatus[] = ['submitted', 'approved', 'yanked', 'quarantined', 'unknown'];

/** A release was registered or its status changed. Key: item_id. */
export interface ReleaseChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The template or plugin. */
  readonly item_id: ItemId;
  /** Exact version x.y.z of the release. */
  readonly version: Version;
  /** Only approved releases resolve (B3). */
  readonly status: ReleaseStatus;
  /** SHA-256 of the canonical archive, 64 hex digits. */
  readonly archive_sha256: Sha256;
  /** Length of the canonical archive in bytes. */
  readonly archive_bytes: number;
  /** Files in the release. */
  readonly files: number;
  /** Minted by waybill per item; only grows. */
  readonly catalogue_version: number;
}

/** Why a restart is asked for. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type RestartReason = 'changed' | 'revoked' | 'unknown';
export const restartReasonSymbols: readonly RestartReason[] = ['changed', 'revoked', 'unknown'];

/** A changed set is staged completely; it goes live when the workspace boots anew. Key: workspace_id. */
export interface RestartRequested {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** Minted by waybill per workspace; grows with every event of this topic (I6). */
  readonly assets_version: number;
  /** The epoch that it asks to end. */
  readonly epoch: number;
  /** Digest of the staged set. */
  readonly set_digest: Sha256;
  /** Do not restart before this moment (settle window, cap), milliseconds since the epoch. */
  readonly not_before: number;
  /** changed: another set is wanted. revoked: something must go. */
  readonly reason: RestartReason;
}

/** Why the line ended. `unknown` is what an older reader sees of a newer symbol; it is never written. */
export type RevokeReason = 'refund' | 'non_payment' | 'fraud' | 'malware' | 'operator' | 'unknown';
export const revokeReasonSymbols: readonly RevokeReason[] = ['refund', 'non_payment', 'fraud', 'malware', 'operator', 'unknown'];

/** A line of entitlement that has ended: the whole line as revoked; stays as a tombstone. Key: org_id/item_id. */
export interface Revoke {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The tenant: the control plane's org id. */
  readonly org_id: OrgId;
  /** The template or plugin that was bought. */
  readonly item_id: ItemId;
  /** The purchase, subscription or grant; a re-buy has a new one. 1 to 200 printable characters. */
  readonly purchase_id: PurchaseId;
  /** Version of this line, minted by billing; positive, only grows, at most 2^53 - 2. Orders the events of the line (A6). */
  readonly entitlement_version: number;
  /** Where the line comes from. */
  readonly source: EntitlementSource;
  /** Which release the line entitles to: an exact version x.y.z pins it, anything else is the name of a channel, such as `stable`. */
  readonly policy: Policy;
  /** Not entitled before this moment, by the database's clock (A7). */
  readonly valid_from: number;
  /** Not entitled from this moment on, by the database's clock; null: no end (A7). */
  readonly valid_until: number | null;
  /** When the line ended, milliseconds since the epoch; the line that ended last gives the reason (C13). */
  readonly ended_at: number;
  /** Why the line ended; decides what happens to what was delivered (C13). */
  readonly reason: RevokeReason;
}

/** The template of a workspace was set, changed or cleared. Carries the whole record as it now stands; the type only says what changed. Key: workspace_id. */
export interface TemplateChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** The engine (image). Authoritative for the engine and its config root, for nothing else (C5). */
  readonly runtime: RuntimeId;
  /** Item id of the template, or null: derive from the runtime as before templates existed (C6). */
  readonly template: ItemId | null;
  /** Item ids of the plugins; sorted, without repeats, at most 100. */
  readonly plugins: readonly ItemId[];
  /** What the control plane has the workspace do. Files go live only while provisioning (C11). */
  readonly status: WorkspaceStatus;
  /** volume: waybill writes the mounted volume. box: the workspace's agent does. */
  readonly delivery_mode: DeliveryMode;
  /** Boot number: bumped at every provision and every restart; positive. */
  readonly epoch: number;
  /** Bumped when what should be delivered may change (template, plugins, runtime); positive. */
  readonly generation: number;
  /** Bumped at every change of the record; positive. Orders the events of the workspace (A6). */
  readonly record_version: number;
  /** Who made the change. */
  readonly origin: RecordOrigin;
}

/** A workspace was created or boots anew (a new epoch). Carries the whole record as it now stands; the type only says what changed. Key: workspace_id. */
export interface WorkspaceProvisioned {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** The engine (image). Authoritative for the engine and its config root, for nothing else (C5). */
  readonly runtime: RuntimeId;
  /** Item id of the template, or null: derive from the runtime as before templates existed (C6). */
  readonly template: ItemId | null;
  /** Item ids of the plugins; sorted, without repeats, at most 100. */
  readonly plugins: readonly ItemId[];
  /** What the control plane has the workspace do. Files go live only while provisioning (C11). */
  readonly status: WorkspaceStatus;
  /** volume: waybill writes the mounted volume. box: the workspace's agent does. */
  readonly delivery_mode: DeliveryMode;
  /** Boot number: bumped at every provision and every restart; positive. */
  readonly epoch: number;
  /** Bumped when what should be delivered may change (template, plugins, runtime); positive. */
  readonly generation: number;
  /** Bumped at every change of the record; positive. Orders the events of the workspace (A6). */
  readonly record_version: number;
  /** Who made the change. */
  readonly origin: RecordOrigin;
}

/** The status of a workspace changed. Carries the whole record as it now stands; the type only says what changed. Key: workspace_id. */
export interface WorkspaceStatusChanged {
  /** Identity of this event; a repeat after a crash carries the same id (I5). */
  readonly event_id: string;
  /** When the cause committed at its producer, milliseconds since the epoch. Never used to order events. */
  readonly occurred_at: number;
  /** The event that caused this one, or null for a first cause. */
  readonly caused_by: string | null;
  /** The replay, backfill or import that caused this event, or null. */
  readonly run_id: string | null;
  /** The workspace. */
  readonly workspace_id: WorkspaceId;
  /** The tenant that owns the workspace. */
  readonly org_id: OrgId;
  /** The engine (image). Authoritative for the engine and its config root, for nothing else (C5). */
  readonly runtime: RuntimeId;
  /** Item id of the template, or null: derive from the runtime as before templates existed (C6). */
  readonly template: ItemId | null;
  /** Item ids of the plugins; sorted, without repeats, at most 100. */
  readonly plugins: readonly ItemId[];
  /** What the control plane has the workspace do. Files go live only while provisioning (C11). */
  readonly status: WorkspaceStatus;
  /** volume: waybill writes the mounted volume. box: the workspace's agent does. */
  readonly delivery_mode: DeliveryMode;
  /** Boot number: bumped at every provision and every restart; positive. */
  readonly epoch: number;
  /** Bumped when what should be delivered may change (template, plugins, runtime); positive. */
  readonly generation: number;
  /** Bumped at every change of the record; positive. Orders the events of the workspace (A6). */
  readonly record_version: number;
  /** Who made the change. */
  readonly origin: RecordOrigin;
}

/** Every event by the name of its record. */
export interface EventByType {
  readonly AssetsReady: AssetsReady;
  readonly AssetsRejected: AssetsRejected;
  readonly AssetsRevoked: AssetsRevoked;
  readonly ChannelMoved: ChannelMoved;
  readonly EntitlementChanged: EntitlementChanged;
  readonly ItemChanged: ItemChanged;
  readonly PluginsChanged: PluginsChanged;
  readonly Purchase: Purchase;
  readonly ReleaseChanged: ReleaseChanged;
  readonly RestartRequested: RestartRequested;
  readonly Revoke: Revoke;
  readonly TemplateChanged: TemplateChanged;
  readonly WorkspaceProvisioned: WorkspaceProvisioned;
  readonly WorkspaceStatusChanged: WorkspaceStatusChanged;
}

export type EventType = keyof EventByType;
