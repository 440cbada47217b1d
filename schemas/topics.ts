import type { EventByType, EventType } from './generated/events.ts';

/** One topic: who may write it, how it is cut and how long it keeps what. */
export interface Topic {
  readonly partitions: number;
  /** Days that records stay; null: for ever, because the projection is rebuilt from it (A3, D2). */
  readonly retentionDays: number | null;
  /** Largest record in bytes. */
  readonly maxMessageBytes: number;
  /** Whose relay publishes it; the broker's ACLs follow from this. */
  readonly owner: 'control-plane' | 'billing' | 'waybill';
  /** Who else reads it. */
  readonly readers: readonly Topic['owner'][];
}

/** An event is at most 256 KiB on the wire; a dead letter carries such an event and why it is one. */
export const eventBytesMax = 256 * 1024;
const ordinary = eventBytesMax + 64 * 1024;

/** Every topic. One per aggregate, so that the order per key spans event types. `waybill topics apply` makes them so. */
export const topics = {
  'marketplace.entitlements': { partitions: 8, retentionDays: null, maxMessageBytes: ordinary, owner: 'billing', readers: ['waybill'] },
  'controlplane.workspaces': { partitions: 8, retentionDays: null, maxMessageBytes: ordinary, owner: 'control-plane', readers: ['waybill'] },
  'waybill.catalogue': { partitions: 8, retentionDays: null, maxMessageBytes: ordinary, owner: 'waybill', readers: ['control-plane', 'billing'] },
  'waybill.assets': { partitions: 8, retentionDays: null, maxMessageBytes: ordinary, owner: 'waybill', readers: ['control-plane'] },
  'waybill.entitlements': { partitions: 8, retentionDays: null, maxMessageBytes: ordinary, owner: 'waybill', readers: ['control-plane', 'billing'] },
  'waybill.dead-letters': { partitions: 1, retentionDays: 90, maxMessageBytes: 2 * 1024 * 1024, owner: 'waybill', readers: [] },
} as const satisfies Record<string, Topic>;

export type TopicName = keyof typeof topics;

/** Where each event goes. Dead letters are raw bytes and have no event of their own. */
const topicByType = {
  Purchase: 'marketplace.entitlements',
  Revoke: 'marketplace.entitlements',
  WorkspaceProvisioned: 'controlplane.workspaces',
  TemplateChanged: 'controlplane.workspaces',
  PluginsChanged: 'controlplane.workspaces',
  WorkspaceStatusChanged: 'controlplane.workspaces',
  ItemChanged: 'waybill.catalogue',
  ReleaseChanged: 'waybill.catalogue',
  ChannelMoved: 'waybill.catalogue',
  EntitlementChanged: 'waybill.entitlements',
  AssetsReady: 'waybill.assets',
  AssetsRejected: 'waybill.assets',
  AssetsRevoked: 'waybill.assets',
  RestartRequested: 'waybill.assets',
} as const satisfies Record<EventType, TopicName>;

/** The event types that a topic carries. */
export type EventTypeOn<T extends TopicName> = { [E in EventType]: (typeof topicByType)[E] extends T ? E : never }[EventType];

export const topicOf = <E extends EventType>(type: E): (typeof topicByType)[E] => topicByType[type];

/** The same as a list. */
export const eventTypesOn = (topic: TopicName): EventType[] => Object.keys(topicByType).filter(isEventType).filter((type) => topicByType[type] === topic);

export const isTopic = (name: string): name is TopicName => Object.hasOwn(topics, name);

export const isEventType = (name: string): name is EventType => Object.hasOwn(topicByType, name);

/** An event with its type: what a codec gives and takes. */
export type TypedEvent<E extends EventType = EventType> = { [T in E]: { readonly type: T; readonly event: EventByType[T] } }[E];

/** The record key of an event: what orders it. Partition = murmur2(key), as in the Java client. */
export function keyOf({ type, event }: TypedEvent): string {
  switch (type) {
    case 'Purchase':
    case 'Revoke':
    case 'EntitlementChanged':
      return `${event.org_id}/${event.item_id}`;
    case 'WorkspaceProvisioned':
    case 'TemplateChanged':
    case 'PluginsChanged':
    case 'WorkspaceStatusChanged':
    case 'AssetsReady':
    case 'AssetsRejected':
    case 'AssetsRevoked':
    case 'RestartRequested':
      return event.workspace_id;
    case 'ItemChanged':
    case 'ReleaseChanged':
    case 'ChannelMoved':
      return event.item_id;
  }
}

/** The version that orders an event among those of its key or line. */
export function versionOf({ type, event }: TypedEvent): number {
  switch (type) {
    case 'Purchase':
    case 'Revoke':
      return event.entitlement_version;
    case 'EntitlementChanged':
      return event.entitlement_revision;
    case 'WorkspaceProvisioned':
    case 'TemplateChanged':
    case 'PluginsChanged':
    case 'WorkspaceStatusChanged':
      return event.record_version;
    case 'AssetsReady':
    case 'AssetsRejected':
    case 'AssetsRevoked':
    case 'RestartRequested':
      return event.assets_version;
    case 'ItemChanged':
    case 'ReleaseChanged':
    case 'ChannelMoved':
      return event.catalogue_version;
  }
}
