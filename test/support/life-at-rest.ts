import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { sweepPage } from '../../delivery/sweep.ts';
import type { Said } from './delivery-world.ts';
import { lifeItems, placedReleases, type WorkspaceLife } from './workspace-life.ts';

interface HeldItems {
  readonly setDigest: string;
  readonly items: readonly { readonly itemId: string; readonly version: string }[];
}

interface DeliveryRow {
  readonly present: HeldItems | null;
  readonly staged: HeldItems | null;
  readonly applying: unknown;
  readonly assets_version: number;
  readonly restart_requested: { readonly epoch: number; readonly setDigests: readonly string[] } | null;
}

/** What is to be seen of a workspace at rest. */
interface Seen {
  readonly life: WorkspaceLife;
  readonly row: DeliveryRow | undefined;
  /** item@version by path, as receipts name them. */
  readonly receipts: readonly { readonly path: string; readonly release: string }[];
  readonly files: Readonly<Record<string, string>>;
  /** Path → content of waybill's own folder. */
  readonly own: Readonly<Record<string, string>>;
  readonly said: readonly Said[];
  readonly isPending: boolean;
  readonly openAttempts: number;
  readonly wanted: Wanted;
}

interface Wanted {
  /** item@version, sorted. */
  readonly releases: readonly string[];
  /** Why the template is withheld. */
  readonly refusal: string | null;
}

/**
 * What is wrong with a workspace at rest, judged by what happened to it and not by waybill's own rules: files, receipts,
 * words and rows have to agree (I6–I9, I25, C8–C13). Empty: nothing.
 */
export async function faultsAtRest(life: WorkspaceLife): Promise<string[]> {
  const seen = await look(life);
  const faults = seen.row === undefined
    ? seen.said.length > 0 || seen.receipts.length > 0 ? ['said or delivered something without a delivery row'] : []
    : [...restFaults(seen), ...fileFaults(seen), ...presentFaults(seen, seen.row), ...plaintextFaults(seen), ...wordFaults(seen, seen.row), ...statusFaults(seen, seen.row)];
  const { found } = await sweepPage(life.world.database, '00000000-0000-0000-0000-000000000000', { thirdPartySellers: false, leaseMs: 0 });
  return [...faults, ...(found.length > 0 ? ['C12: the sweep finds something to do'] : [])];
}

async function look(life: WorkspaceLife): Promise<Seen> {
  const { world, workspace } = life;
  const rows = async <R>(sql: string): Promise<R[]> => (await world.database.raw<{ rows: R[] }>(sql, [workspace])).rows;
  const receipts = await rows<{ path: string; release: string }>(`select path, item_id || '@' || version as release from receipts where workspace_id = ?`);
  const [row] = await rows<DeliveryRow>('select present, staged, applying, assets_version, restart_requested from deliveries where workspace_id = ?');
  return {
    life, row, receipts,
    files: world.files(workspace),
    own: Object.fromEntries(world.residue(workspace).map((path) => [path, readFileSync(join(world.volume(workspace), path), 'utf8')])),
    said: await world.said(workspace),
    isPending: (await rows('select 1 from pending where workspace_id = ?')).length > 0,
    openAttempts: (await rows('select 1 from attempts where workspace_id = ? and ended_at is null')).length,
    wanted: wantedOf(life, new Set(receipts.map(({ release }) => release))),
  };
}

const isEntitled = (life: WorkspaceLife, item: string): boolean => lifeItems[item]?.access === 'open' || life.bought.has(item);

/** What the record asks for and may have; of yanked releases only those that are held. */
function wantedOf(life: WorkspaceLife, held: ReadonlySet<string>): Wanted {
  const releases: string[] = [];
  let refusal: string | null = null;
  for (const item of [...(life.record.template === null ? [] : [life.record.template]), ...life.record.plugins]) {
    const release = `${item}@${life.channelOf(item) ?? ''}`;
    const status = life.statusOf(release);
    const isThere = status === 'approved' || (status === 'yanked' && held.has(release));
    const code = lifeItems[item] === undefined ? 'TEMPLATE_UNKNOWN' : !isEntitled(life, item) ? 'NOT_ENTITLED' : isThere ? null : 'RELEASE_NOT_APPROVED';
    if (code === null) releases.push(release);
    else if (item === life.record.template) refusal = code;
  }
  return { releases: releases.toSorted(), refusal };
}

const namesOf = (set: HeldItems | null): string[] => (set?.items ?? []).map(({ itemId, version }) => `${itemId}@${version}`).toSorted();
const isSame = (a: readonly string[], b: readonly string[]): boolean => JSON.stringify(a) === JSON.stringify(b);
const itemOf = (release: string): string => release.split('@')[0] ?? '';

/** A file of the user at an identity path is looked at until it gives way (C8). */
function restFaults({ life, said, isPending, openAttempts }: Seen): string[] {
  const waitsForUser = ['provisioning', 'online'].includes(life.record.status) && lastOutcome(said)?.body['code'] === 'CONFLICT';
  return [
    ...(isPending && !waitsForUser ? ['is still pending'] : []),
    ...(openAttempts > 0 ? [`I9: has ${openAttempts} open attempts`] : []),
  ];
}

/** Every file is the user's or has a receipt; nothing that the user wrote is lost (I8, C8). */
function fileFaults({ life, files, own, receipts }: Seen): string[] {
  const placed = (path: string): string[] => receipts.filter((receipt) => receipt.path === path).map(({ release }) => placedReleases.get(release)?.[path] ?? '');
  const foreign = Object.entries(files).filter(([path, text]) => !life.everWritten.has(text) && !placed(path).includes(text));
  const everywhere = new Set([...Object.values(files), ...Object.entries(own).filter(([path]) => path.startsWith('.waybill/kept/')).map(([, text]) => text)]);
  const lost = [...life.written].filter(([, text]) => !everywhere.has(text));
  return [
    ...foreign.map(([path, text]) => `C8: ${path} holds ${JSON.stringify(text)}, which neither the user wrote nor a receipt names`),
    ...lost.map(([path, text]) => `C8: what the user wrote at ${path} is lost: ${JSON.stringify(text)}`),
  ];
}

/** Files and receipts are those of what is present, but for what the user touched. A mixture at rest waits for a boot (I8). */
function presentFaults({ life, files, receipts }: Seen, row: DeliveryRow): string[] {
  if (row.applying !== null) {
    return ['provisioning', 'online', 'removed'].includes(life.record.status) ? ['I8: an attempt is applying for ever'] : [];
  }
  const untouched = receipts.filter(({ path }) => !life.isTouched(path));
  const wrong = untouched.filter(({ path, release }) => files[path] !== placedReleases.get(release)?.[path]);
  const faults = wrong.map(({ path, release }) => `${path} holds ${JSON.stringify(files[path])} instead of what ${release} has there`);
  if (row.present === null) return faults;
  const expected = namesOf(row.present).flatMap((release) => Object.keys(placedReleases.get(release) ?? {})).filter((path) => !life.isTouched(path)).toSorted();
  const named = untouched.map(({ path }) => path).toSorted();
  return isSame(expected, named) ? faults : [...faults, `I8: present is ${namesOf(row.present).join(' ')}, and receipts name ${named.join(' ')}`];
}

/** What may no longer be held is nowhere: not at its path, and no copy of it in waybill's own folder (I9, C13). */
function plaintextFaults({ life, own, receipts }: Seen): string[] {
  const { status } = life.record;
  const held = new Set(receipts.map(({ release }) => release));
  const isGone = (release: string): boolean => {
    const reason = life.ended.get(itemOf(release));
    return life.statusOf(release) === 'quarantined' || (!isEntitled(life, itemOf(release)) && (reason === 'fraud' || reason === 'malware'));
  };
  const mayLie = (release: string): boolean => status !== 'removed' && life.statusOf(release) !== 'quarantined'
    // A lapse that waits for the next boot leaves what is held where it is, and so its earlier copies.
    && (isEntitled(life, itemOf(release)) || [...held].some((other) => itemOf(other) === itemOf(release)));
  const copies = Object.entries(own).flatMap(([path, text]) => {
    const of = [...placedReleases].filter(([, files]) => Object.values(files).includes(text)).map(([release]) => release);
    return of.length > 0 && !of.some(mayLie) ? [`I9: ${path} is a copy from ${of.join(' or ')}`] : [];
  });
  return [
    ...[...held].filter(isGone).map((release) => `C13: ${release} is still held`),
    ...(status === 'removed' && held.size > 0 ? ['C11: a removed workspace holds something'] : []),
    ...copies,
  ];
}

const lastOutcome = (said: readonly Said[]): Said | undefined => said.findLast(({ type }) => type === 'AssetsReady' || type === 'AssetsRejected');

/** Of an event, what differs although it says the same. */
const perEvent = new Set(['event_id', 'occurred_at', 'caused_by', 'assets_version', 'attempts']);
const wordsOf = ({ type, body }: Said): string => JSON.stringify([type, Object.entries(body).filter(([field]) => !perEvent.has(field))]);

/** Versions without gaps; nothing said twice; no restart twice for one set in one epoch, but once after each removal (I6, I25). */
function wordFaults({ said }: Seen, row: DeliveryRow): string[] {
  const gaps = said.flatMap(({ body }, at) => (body['assets_version'] === at + 1 ? [] : [`I6: assets_version ${String(body['assets_version'])} is number ${at + 1}`]));
  const repeats = said.flatMap((event, at) => {
    const before = said[at - 1];
    return before !== undefined && wordsOf(before) === wordsOf(event) ? [`I6: ${event.type} is said again with the same words`] : [];
  });
  const followsRemoval = (at: number): boolean => said[at - 1]?.type === 'AssetsRevoked' && said[at - 1]?.body['effect'] === 'removed';
  const asked = said.flatMap(({ type, body }, at) => (type === 'RestartRequested' && !followsRemoval(at) ? [`${String(body['epoch'])} ${String(body['set_digest'])}`] : []));
  return [
    ...gaps, ...repeats,
    ...(row.assets_version === said.length ? [] : [`I6: the delivery row has assets_version ${row.assets_version} after ${said.length} events`]),
    ...(new Set(asked).size === asked.length ? [] : ['I25: a restart is requested twice for the same set in one epoch']),
  ];
}

/** The last word is what is wanted and present (I6, C10, C11). */
function statusFaults(seen: Seen, row: DeliveryRow): string[] {
  const { status } = seen.life.record;
  if (status === 'provisioning') return provisioningFaults(seen, row);
  return status === 'online' ? onlineFaults(seen, row) : [];
}

function provisioningFaults({ life, said, wanted }: Seen, row: DeliveryRow): string[] {
  const { epoch, generation } = life.record;
  const last = lastOutcome(said);
  const ofThisBoot = (event: Said | undefined): boolean => event?.body['epoch'] === epoch && event.body['generation'] === generation;
  const ready = said.findLast((event) => event.type === 'AssetsReady' && ofThisBoot(event));
  if (ready === undefined) {
    const code = String(last?.body['code']);
    const isConflict = code === 'CONFLICT' && ['configs', 'configs/system-prompt.md', 'configs/config.yaml'].some((path) => life.isTouched(path));
    return [
      ...(last?.type === 'AssetsRejected' && ofThisBoot(last) ? [] : ['C10: has no outcome of this boot']),
      ...(code === wanted.refusal || isConflict ? [] : [`C10: is rejected with ${code} instead of ${String(wanted.refusal)}`]),
      ...(isSame(namesOf(row.present), wanted.releases) ? [] : [`C9: holds ${namesOf(row.present).join(' ')}, wanted is ${wanted.releases.join(' ')}`]),
    ];
  }
  // From AssetsReady on only an immediate removal changes anything (C11).
  const since = said.slice(said.indexOf(ready)).filter(({ type, body }) => type === 'AssetsRevoked' && body['effect'] === 'removed');
  const gone = new Set(since.flatMap(({ body }) => itemsOf(body)));
  const told = itemsOf(ready.body).filter((release) => !gone.has(release)).toSorted();
  return isSame(told, namesOf(row.present)) ? [] : [`I7: AssetsReady says ${told.join(' ')}, present is ${namesOf(row.present).join(' ')}`];
}

const itemsOf = (body: Said['body']): string[] =>
  (body['items'] as { item_id: string; version: string }[]).map((item) => `${item.item_id}@${item.version}`); // as the schema has it

function onlineFaults({ life, said, wanted, own, files }: Seen, row: DeliveryRow): string[] {
  const present = namesOf(row.present);
  const last = said.at(-1)?.type ?? 'nothing';
  if (wanted.refusal !== null) {
    return ['AssetsRejected', 'AssetsRevoked', 'RestartRequested'].includes(last) ? [] : [`C10: is refused with ${wanted.refusal}, and the last word is ${last}`];
  }
  if (row.present !== null && isSame(present, wanted.releases)) {
    const isConflict = lastOutcome(said)?.body['code'] === 'CONFLICT';
    return last === 'AssetsReady' || isConflict ? [] : [`I6: holds what is wanted, and the last word is ${last}`];
  }
  // Something took a file away in two epochs in a row: no restart helps (C9, I25).
  if (row.present === null && last === 'AssetsRejected' && lastOutcome(said)?.body['code'] === 'MISSING_ASSETS') return [];
  const mayWait = present.filter((release) => !wanted.releases.includes(release)).every((release) => {
    const item = itemOf(release);
    return [life.record.template, ...life.record.plugins].includes(item) && !isEntitled(life, item) && life.ended.get(item) === 'non_payment';
  });
  if (row.present !== null && mayWait && wanted.releases.every((release) => present.includes(release))) return [];
  const { staged, restart_requested: asked } = row;
  const lacking = wanted.releases.flatMap((release) => Object.entries(placedReleases.get(release) ?? {}))
    .filter(([path, text]) => files[path] !== text && !life.isTouched(path) && !Object.values(own).includes(text));
  return [
    ...(staged !== null && isSame(namesOf(staged), wanted.releases) ? [] : [`C11: ${namesOf(staged).join(' ')} is staged, wanted is ${wanted.releases.join(' ')}`]),
    ...(asked?.epoch === life.record.epoch && staged !== null && asked.setDigests.includes(staged.setDigest) ? [] : ['I25: a change waits, and no restart is asked for']),
    ...lacking.map(([path]) => `C11: ${path} is not staged`),
  ];
}
