import { contentDigest, type Versioned } from '../entitlements/decide.ts';
import type { DeliveryMode, RecordOrigin, WorkspaceStatus } from '../schemas/generated/events.ts';
import type { ItemId, OrgId, RuntimeId, WorkspaceId } from '../schemas/ids.ts';
import type { TypedEvent } from '../schemas/topics.ts';

/** What the control plane wants of one workspace, as its newest event has it. `ended`: removed, a tombstone. */
export interface WorkspaceRecord extends Versioned {
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  readonly runtime: RuntimeId;
  readonly template: ItemId | null;
  readonly plugins: readonly ItemId[];
  readonly status: WorkspaceStatus;
  readonly deliveryMode: DeliveryMode;
  readonly epoch: number;
  readonly generation: number;
  readonly origin: RecordOrigin;
}

export type RecordEvent = TypedEvent<'WorkspaceProvisioned' | 'TemplateChanged' | 'PluginsChanged' | 'WorkspaceStatusChanged'>;

/** The record that an event carries. Its type only says what changed, so it is not part of the content (A3). */
export function recordOf({ event }: RecordEvent): WorkspaceRecord {
  return {
    workspaceId: event.workspace_id,
    orgId: event.org_id,
    version: event.record_version,
    ended: event.status === 'removed',
    digest: contentDigest([
      event.workspace_id, event.org_id, event.runtime, event.template, event.plugins, event.status, event.delivery_mode,
      event.epoch, event.generation, event.origin,
    ]),
    runtime: event.runtime,
    template: event.template,
    plugins: event.plugins,
    status: event.status,
    deliveryMode: event.delivery_mode,
    epoch: event.epoch,
    generation: event.generation,
    origin: event.origin,
  };
}

/** The items that a record names, sorted, without repeats. A removed workspace names none: it is wanted to hold nothing. */
export function namedItems(record: WorkspaceRecord): readonly ItemId[] {
  return record.ended ? [] : itemsWritten(record);
}

/** Whether the record asks for anything: what makes a delivery row, for ever (C6, I15). */
export const asksForAnything = (record: WorkspaceRecord): boolean => itemsWritten(record).length > 0;

const itemsWritten = ({ template, plugins }: WorkspaceRecord): readonly ItemId[] =>
  [...new Set(template === null ? plugins : [template, ...plugins])].toSorted();
