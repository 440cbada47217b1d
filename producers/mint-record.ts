import type { WorkspaceProvisioned, WorkspaceStatus } from '../schemas/generated/events.ts';
import type { ItemId, RuntimeId } from '../schemas/ids.ts';
import { nextVersion, refuse, sameVersion, type Refusal } from './mint-version.ts';

/**
 * What the control plane mints for a workspace record (C6, C11, "Who mints what"), as plain functions. The functions of
 * migrations/control-plane do the same in SQL; a test holds both equal over generated histories.
 */

/** The whole record in the words of its events. */
export type WorkspaceRecord = Omit<WorkspaceProvisioned, 'event_id' | 'occurred_at' | 'caused_by' | 'run_id' | 'origin'>;

/** The record as the control plane's database holds it. */
export interface StoredRecord extends WorkspaceRecord {
  /** The workspace ever had a template or a plugin: from then on every boot waits for AssetsReady. */
  readonly delivered_to: boolean;
  /** What the newest AssetsReady was about. */
  readonly ready_epoch: number | null;
  readonly ready_generation: number | null;
}

export const recordOf = ({ workspace_id, org_id, runtime, template, plugins, status, delivery_mode, epoch, generation, record_version }: StoredRecord): WorkspaceRecord =>
  ({ workspace_id, org_id, runtime, template, plugins, status, delivery_mode, epoch, generation, record_version });

/** Versions of a team that mints its own; each has to grow when its turn is, and to stay otherwise. */
export interface RecordVersions {
  readonly recordVersion?: number;
  readonly generation?: number;
  readonly epoch?: number;
}

export type NewWorkspace = Pick<WorkspaceRecord, 'workspace_id' | 'org_id' | 'runtime' | 'template' | 'plugins' | 'delivery_mode'>;

/** Every change there is. `provision` makes a workspace, the others need one. */
export type RecordChange =
  | { readonly kind: 'provision'; readonly workspace: NewWorkspace }
  | { readonly kind: 'template'; readonly template: ItemId | null }
  | { readonly kind: 'plugins'; readonly plugins: readonly ItemId[] }
  | { readonly kind: 'status'; readonly status: Exclude<WorkspaceStatus, 'provisioning' | 'unknown'> }
  | { readonly kind: 'epoch'; readonly endsEpoch: number | undefined; readonly runtime: RuntimeId | undefined };

export type RecordEventType = 'WorkspaceProvisioned' | 'TemplateChanged' | 'PluginsChanged' | 'WorkspaceStatusChanged';

export type RecordDecision =
  | { readonly outcome: 'minted'; readonly type: RecordEventType; readonly next: StoredRecord }
  | { readonly outcome: 'unchanged'; readonly next: StoredRecord }
  | Refusal;

/** Whether what the record asks for goes live only in another epoch (C11): the newest AssetsReady is not about it. */
export const needsRestart = (record: StoredRecord): boolean =>
  record.delivered_to && record.status !== 'provisioning' && record.status !== 'removed' && !isReady(record);

const isReady = ({ epoch, generation, ready_epoch, ready_generation }: StoredRecord): boolean =>
  ready_epoch === epoch && ready_generation === generation;

/** What becomes of the record. `ifVersion`: refused when it is not the current record_version. FieldError for a bad version. */
export function decideRecord(
  current: StoredRecord | undefined, change: RecordChange, { ifVersion, versions = {} }: { ifVersion?: number | undefined; versions?: RecordVersions | undefined } = {},
): RecordDecision {
  if (change.kind === 'provision') return decideProvision(current, change.workspace, versions);
  if (current === undefined) return refuse('NOT_FOUND', 'never provisioned');
  if (ifVersion !== undefined && ifVersion !== current.record_version) {
    return refuse('STALE_VERSION', `record_version is ${current.record_version}, not ${ifVersion}`);
  }
  if (current.status === 'removed') return change.kind === 'status' && change.status === 'removed' ? { outcome: 'unchanged', next: current } : refuseRemoved;
  switch (change.kind) {
    case 'template':
      return change.template === current.template
        ? { outcome: 'unchanged', next: current } : mint('TemplateChanged', current, { ...current, template: change.template }, versions);
    case 'plugins':
      return sameList(change.plugins, current.plugins)
        ? { outcome: 'unchanged', next: current } : mint('PluginsChanged', current, { ...current, plugins: change.plugins }, versions);
    case 'status':
      return decideStatus(current, change.status, versions);
    case 'epoch':
      if (change.endsEpoch !== undefined && change.endsEpoch < current.epoch) return { outcome: 'unchanged', next: current };
      return mint('WorkspaceProvisioned', current, { ...current, status: 'provisioning', runtime: change.runtime ?? current.runtime }, versions, true);
  }
}

function decideProvision(current: StoredRecord | undefined, workspace: NewWorkspace, versions: RecordVersions): RecordDecision {
  if (current === undefined) {
    const blank = { status: 'provisioning', epoch: 0, generation: 0, record_version: 0, delivered_to: false, ready_epoch: null, ready_generation: null } as const;
    return mint('WorkspaceProvisioned', undefined, { ...workspace, ...blank }, versions, true);
  }
  if (current.status === 'removed') return refuseRemoved;
  const same = current.org_id === workspace.org_id && current.delivery_mode === workspace.delivery_mode && !differs(current, workspace);
  if (same) return { outcome: 'unchanged', next: current };
  return refuse('STALE_VERSION', `provisioned already with other content, as record_version ${current.record_version}`);
}

function decideStatus(current: StoredRecord, status: WorkspaceStatus, versions: RecordVersions): RecordDecision {
  if (status === current.status) return { outcome: 'unchanged', next: current };
  if ((current.status === 'hibernated' || current.status === 'failed') && status !== 'removed' && status !== 'failed') {
    return refuse('FIELD_INVALID', `status should be removed or failed while ${current.status}, but is ${status}: a new epoch leads out`);
  }
  const next = { ...current, status };
  if (status === 'online' && needsRestart(next)) {
    return refuse('MISSING_ASSETS', `no AssetsReady of epoch ${current.epoch}, generation ${current.generation} was recorded`);
  }
  return mint('WorkspaceStatusChanged', current, next, versions);
}

const refuseRemoved = refuse('REMOVED', 'removed, and not used again');

function mint(type: RecordEventType, current: StoredRecord | undefined, next: StoredRecord, versions: RecordVersions, boots = false): RecordDecision {
  const delivers = current === undefined || differs(current, next);
  const record_version = nextVersion('record_version', current?.record_version, versions.recordVersion);
  if (typeof record_version !== 'number') return record_version;
  const generation = (delivers ? nextVersion : sameVersion)('generation', current?.generation ?? 0, versions.generation);
  if (typeof generation !== 'number') return generation;
  const epoch = (boots ? nextVersion : sameVersion)('epoch', current?.epoch ?? 0, versions.epoch);
  if (typeof epoch !== 'number') return epoch;
  const delivered_to = next.delivered_to || next.template !== null || next.plugins.length > 0;
  return { outcome: 'minted', type, next: { ...next, record_version, generation, epoch, delivered_to } };
}

/** Whether what should be delivered may differ: template, plugins or runtime. */
const differs = (a: Pick<WorkspaceRecord, 'runtime' | 'template' | 'plugins'>, b: typeof a): boolean =>
  a.runtime !== b.runtime || a.template !== b.template || !sameList(a.plugins, b.plugins);

const sameList = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((element, i) => element === b[i]);
