import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { migrate } from '../process/migrate.ts';
import { list, symbolOf } from '../schemas/field-parsers.ts';
import { deliveryModeSymbols, recordOriginSymbols, workspaceStatusSymbols } from '../schemas/generated/events.ts';
import type { AssetsReady, DeliveryMode, RecordOrigin, WorkspaceStatus } from '../schemas/generated/events.ts';
import { deriveEventId, FieldError, parseCount, parseItemId, parseOrgId, parseWorkspaceId, type ItemId, type RuntimeId, type WorkspaceId } from '../schemas/ids.ts';
import { pluginsMax } from '../schemas/parse-event.ts';
import { parseKnownRuntime } from '../schemas/runtimes.ts';
import type { EventTypeOn, TypedEvent } from '../schemas/topics.ts';
import { parseCause, type Cause } from './cause.ts';
import { checkInput } from './check-input.ts';
import { checkRuntime, findItems, type CatalogueLookup, type KnownItems } from './check-items.ts';
import { readJson, requireTransaction } from './json-row.ts';
import { decideRecord, needsRestart, recordOf, type RecordChange, type RecordEventType, type RecordVersions, type WorkspaceRecord } from './mint-record.ts';
import { appendEvents } from './outbox.ts';
import { loadRecord, putRecord } from './record-rows.ts';

export type { CatalogueLookup } from './check-items.ts';

/** A new workspace, in the words of its events. */
export interface WorkspaceInput {
  readonly workspace_id: string;
  readonly org_id: string;
  readonly runtime: string;
  /** Default null: derive from the runtime, as before templates existed (C6). */
  readonly template?: string | null;
  readonly plugins?: readonly string[];
  /** Default volume. */
  readonly delivery_mode?: Exclude<DeliveryMode, 'unknown'>;
}

export interface ChangeOptions extends Cause {
  /** The record_version that the change was made for; STALE_VERSION when it is no longer the current one. */
  readonly ifVersion?: number;
  /** Versions of a team that mints its own. Default: the next ones. */
  readonly versions?: RecordVersions;
  /** Who makes the change. Default user. */
  readonly origin?: Exclude<RecordOrigin, 'unknown'>;
}

export interface RecordResult {
  /** unchanged: the record said so already; nothing was minted and nothing is published. */
  readonly outcome: 'minted' | 'unchanged';
  readonly record: WorkspaceRecord;
  /** True while what the record asks for goes live only in another epoch: `startEpoch`, when it suits the user (C11). */
  readonly needsRestart: boolean;
  /** Present when minted. */
  readonly event?: TypedEvent<RecordEventType>;
}

/** Brings the control plane's database to the newest version of its tables and SQL functions. Returns the migrations that ran. */
export const installControlPlane = async (database: Database): Promise<string[]> => await migrate(database, ['outbox', 'control-plane']);

/*
 * Each function below joins the caller's transaction: it locks the workspace's row, mints the versions, writes the row and
 * appends the event with the whole record (A3, A4, A5). All throw input: FIELD_INVALID, LONG_OVERFLOW, NOT_FOUND, REMOVED,
 * STALE_VERSION; and whatever the catalogue throws.
 */

/**
 * A new workspace: epoch 1, status provisioning. The same again is unchanged; the same id with other content is
 * STALE_VERSION. RUNTIME_UNKNOWN, TEMPLATE_UNKNOWN, RUNTIME_MISMATCH.
 */
export async function provisionWorkspace(trx: Transaction, catalogue: CatalogueLookup, input: WorkspaceInput, options: ChangeOptions = {}): Promise<RecordResult> {
  const workspace = checkInput(() => ({
    workspace_id: parseWorkspaceId(input.workspace_id),
    org_id: parseOrgId(input.org_id),
    runtime: parseRuntime(input.runtime),
    template: parseTemplate(input.template ?? null),
    plugins: parsePlugins(input.plugins ?? []),
    delivery_mode: parseDeliveryMode(input.delivery_mode ?? 'volume', 'delivery_mode', 'strict'),
  }));
  checkRuntime(await findItems(catalogue, workspace.template, workspace.plugins), workspace.runtime);
  return await mintRecord(trx, workspace.workspace_id, { kind: 'provision', workspace }, options);
}

/** Assigns a template, or clears it with null. TEMPLATE_UNKNOWN, RUNTIME_MISMATCH. */
export async function changeTemplate(
  trx: Transaction, catalogue: CatalogueLookup, input: { readonly workspace_id: string; readonly template: string | null }, options: ChangeOptions = {},
): Promise<RecordResult> {
  const { id, template } = checkInput(() => ({ id: parseWorkspaceId(input.workspace_id), template: parseTemplate(input.template) }));
  const items = await findItems(catalogue, template, []);
  return await mintRecord(trx, id, { kind: 'template', template }, options, items);
}

/** Sets the whole list of plugins; order and repeats do not matter. TEMPLATE_UNKNOWN, RUNTIME_MISMATCH. */
export async function changePlugins(
  trx: Transaction, catalogue: CatalogueLookup, input: { readonly workspace_id: string; readonly plugins: readonly string[] }, options: ChangeOptions = {},
): Promise<RecordResult> {
  const { id, plugins } = checkInput(() => ({ id: parseWorkspaceId(input.workspace_id), plugins: parsePlugins(input.plugins) }));
  const items = await findItems(catalogue, null, plugins);
  return await mintRecord(trx, id, { kind: 'plugins', plugins }, options, items);
}

/**
 * Another status than provisioning, which is a new boot: `startEpoch`. `online` throws MISSING_ASSETS until AssetsReady of
 * this (epoch, generation) was recorded, where the workspace ever had a template or a plugin (C11). `removed` is for ever.
 */
export async function changeStatus(
  trx: Transaction, input: { readonly workspace_id: string; readonly status: Exclude<WorkspaceStatus, 'provisioning' | 'unknown'> }, options: ChangeOptions = {},
): Promise<RecordResult> {
  const { id, status } = checkInput(() => ({ id: parseWorkspaceId(input.workspace_id), status: parseStatus(input.status, 'status', 'strict') }));
  if (status === 'provisioning' || status === 'unknown') {
    throw new Failure('input', 'FIELD_INVALID', `status should be one of online, paused, hibernated, removed, failed, but is "${status}": a new boot is startEpoch`);
  }
  return await mintRecord(trx, id, { kind: 'status', status }, options);
}

/**
 * A new boot: epoch + 1, status provisioning (C11). `ends_epoch` is what RestartRequested asks to end; when the workspace
 * is in a later epoch already, nothing changes, so that a repeated request restarts once. `runtime`: another image from
 * this boot on, for which the template and plugins are looked up again. RUNTIME_UNKNOWN, TEMPLATE_UNKNOWN, RUNTIME_MISMATCH.
 */
export async function startEpoch(
  trx: Transaction, catalogue: CatalogueLookup, input: { readonly workspace_id: string; readonly ends_epoch?: number; readonly runtime?: string },
  options: ChangeOptions = {},
): Promise<RecordResult> {
  const { id, ends_epoch, runtime } = checkInput(() => ({
    id: parseWorkspaceId(input.workspace_id),
    ends_epoch: input.ends_epoch === undefined ? undefined : parseCount(input.ends_epoch, 'ends_epoch'),
    runtime: input.runtime === undefined ? undefined : parseRuntime(input.runtime),
  }));
  const change = { kind: 'epoch', endsEpoch: ends_epoch, runtime } as const;
  if (runtime === undefined) return await mintRecord(trx, id, change, options);
  requireTransaction(trx);
  const { current } = await loadRecord(trx, id, 'peek');
  const items = await findItems(catalogue, current?.template ?? null, current?.plugins ?? []);
  // The items were looked up before the lock; a record that has changed since is another one.
  return await mintRecord(trx, id, change, current === undefined ? options : { ifVersion: current.record_version, ...options }, items);
}

/**
 * Remembers an AssetsReady in the control plane's row, so that `online` is minted only after it (C11). True when it was
 * news: an older one than the newest known, or one of an unknown workspace, changes nothing.
 */
export async function recordAssetsReady(trx: Transaction, { workspace_id, epoch, generation, assets_version }: AssetsReady): Promise<boolean> {
  const news = await readJson(
    trx, 'select waybill_record_assets_ready(:workspace_id, :epoch, :generation, :assets_version)::text as r', { workspace_id, epoch, generation, assets_version },
  );
  return news === true;
}

/**
 * Remembers what waybill.assets says of a workspace, whatever the event: AssetsReady opens the way to `online`; AssetsRejected
 * and an AssetsRevoked of what was removed close it until the next AssetsReady (C11, C13). True when it was news, as above.
 */
export async function recordAssets(trx: Transaction, said: TypedEvent<EventTypeOn<'waybill.assets'>>): Promise<boolean> {
  switch (said.type) {
    case 'AssetsReady':
      return await recordAssetsReady(trx, said.event);
    case 'AssetsRejected':
      return await recordAssetsLost(trx, said.event);
    case 'AssetsRevoked':
      return said.event.effect === 'removed' || said.event.effect === 'removal_pending' ? await recordAssetsLost(trx, said.event) : false;
    case 'RestartRequested':
      return false;
  }
}

async function recordAssetsLost(trx: Transaction, { workspace_id, assets_version }: Pick<AssetsReady, 'workspace_id' | 'assets_version'>): Promise<boolean> {
  return await readJson(trx, 'select waybill_record_assets_lost(:workspace_id, :assets_version)::text as r', { workspace_id, assets_version }) === true;
}

const parseStatus = symbolOf(workspaceStatusSymbols);
const parseDeliveryMode = symbolOf(deliveryModeSymbols);
const parseOrigin = symbolOf(recordOriginSymbols);
const parsePluginList = list(parseItemId, { max: pluginsMax });

const parseTemplate = (value: string | null): ItemId | null => (value === null ? null : parseItemId(value, 'template'));
/** Sorted, without repeats. */
const parsePlugins = (value: readonly string[]): readonly ItemId[] =>
  parsePluginList(Array.isArray(value) ? sortedOnce(value) : value, 'plugins', 'strict');
const sortedOnce = (values: readonly string[]): readonly string[] => [...new Set(values)].toSorted();

function parseRuntime(value: string): RuntimeId {
  try {
    return parseKnownRuntime(value);
  } catch (error) {
    if (error instanceof FieldError) throw new Failure('input', 'RUNTIME_UNKNOWN', error.message, { cause: error });
    throw error;
  }
}

/** Lock, check, decide, write, append; once more when another transaction inserted the same workspace in between. */
async function mintRecord(trx: Transaction, id: WorkspaceId, change: RecordChange, options: ChangeOptions, items?: KnownItems): Promise<RecordResult> {
  requireTransaction(trx);
  const about = { ...parseCause(options), origin: checkInput(() => parseOrigin(options.origin ?? 'user', 'origin', 'strict')) };
  for (;;) {
    const { current, now } = await loadRecord(trx, id, 'lock');
    const decision = checkInput(() => decideRecord(current, change, options));
    if (decision.outcome === 'refused') throw new Failure('input', decision.code, `workspace ${id}: ${decision.message}`);
    const { next } = decision;
    if (decision.outcome === 'unchanged') return { outcome: 'unchanged', record: recordOf(next), needsRestart: needsRestart(next) };
    if (items !== undefined) checkRuntime(items, next.runtime);
    if (!(await putRecord(trx, current, next))) continue;
    const { type } = decision;
    const event_id = deriveEventId(type, id, next.record_version);
    const event: TypedEvent<RecordEventType> = { type, event: { ...recordOf(next), ...about, event_id, occurred_at: now } };
    await appendEvents(trx, [event], { traceparent: options.traceparent });
    return { outcome: 'minted', record: recordOf(next), needsRestart: needsRestart(next), event };
  }
}
