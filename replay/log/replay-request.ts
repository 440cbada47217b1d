import { Failure } from '../../process/failure.ts';
import type { ItemId, OrgId, WorkspaceId } from '../../schemas/ids.ts';
import { keyOf, type TopicName, type TypedEvent } from '../../schemas/topics.ts';
import type { PartitionLog, RangeReader, Span } from './range-reader.ts';

/** The topics whose events waybill folds; of its own it keeps what it says, not what it was told. */
export const replayable = ['marketplace.entitlements', 'controlplane.workspaces'] as const satisfies readonly TopicName[];
export type ReplayTopic = (typeof replayable)[number];

/** Which events of the range; each given one has to be matched exactly (D1). */
export interface EventFilter {
  readonly key?: string | undefined;
  readonly org?: OrgId | undefined;
  readonly item?: ItemId | undefined;
  readonly workspace?: WorkspaceId | undefined;
}

export function matchesFilter(typed: TypedEvent, { key, org, item, workspace }: EventFilter): boolean {
  const { event } = typed;
  if (key !== undefined && keyOf(typed) !== key) return false;
  if (org !== undefined && !('org_id' in event && event.org_id === org)) return false;
  if (workspace !== undefined && !('workspace_id' in event && event.workspace_id === workspace)) return false;
  return item === undefined || namesItem(typed, item);
}

function namesItem({ event }: TypedEvent, item: ItemId): boolean {
  if ('item_id' in event) return event.item_id === item;
  return 'plugins' in event && (event.template === item || event.plugins.includes(item));
}

/** An end of a range: a moment in milliseconds, or an offset of one partition. */
export type Bound = { readonly time: number } | { readonly offset: number };

/** `2026-11-24T12:00:00Z` or a whole number, which is an offset. @throws Failure input USAGE */
export function parseBound(text: string, option: string): Bound {
  if (/^\d{1,15}$/u.test(text)) return { offset: Number(text) };
  const time = /^\d{4}-\d{2}-\d{2}T/u.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new Failure('input', 'USAGE', `${option} should be a time such as 2026-11-24T12:00:00Z or an offset, but is ${JSON.stringify(text.slice(0, 80))}`);
  return { time };
}

/**
 * The spans of a topic between two bounds, as the log stands now: what comes later is not part of it (D1).
 * @throws Failure input USAGE (an offset without its partition), NOT_FOUND (no such partition)
 */
export async function resolveSpans(
  reader: RangeReader, topic: ReplayTopic, { from, to, partition }: { readonly from?: Bound | undefined; readonly to?: Bound | undefined; readonly partition?: number | undefined },
): Promise<Span[]> {
  if ([from, to].some((bound) => bound !== undefined && 'offset' in bound) && partition === undefined) {
    throw new Failure('input', 'USAGE', 'An offset means something in one partition alone: give --partition, or a time');
  }
  const all = await reader.partitions(topic);
  const chosen = partition === undefined ? all : all.filter((one) => one.partition === partition);
  if (chosen.length === 0) throw new Failure('input', 'NOT_FOUND', `${topic} has no partition ${String(partition)}.`);
  const at = async (bound: Bound | undefined, otherwise: (log: PartitionLog) => number): Promise<(log: PartitionLog) => number> => {
    if (bound === undefined) return otherwise;
    if ('offset' in bound) return () => bound.offset;
    const offsets = await reader.offsetsAt(topic, bound.time);
    return (log) => offsets.get(log.partition) ?? log.end;
  };
  const [begin, end] = [await at(from, ({ start }) => start), await at(to, (log) => log.end)];
  return chosen.map((log) => ({ partition: log.partition, from: Math.max(begin(log), log.start), to: Math.min(end(log), log.end) })).filter((span) => span.from < span.to);
}
