import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { canary, placed, placedVoice2, type Case, type ItemName } from './fault-scenarios.ts';
import { listing } from './volume-delivery.ts';

/** Of an event, what two runs of the same story may differ in. */
const perRun = new Set(['event_id', 'occurred_at', 'caused_by', 'assets_version', 'attempts', 'not_before', 'workspace_id', 'org_id']);

/** "The same state": lines, records, deliveries, receipts, what was said, and every file, without ids, versions and times. */
export async function stateOf({ world, workspace, org }: Case): Promise<Record<string, unknown>> {
  const rows = async (sql: string, of = workspace): Promise<unknown[]> => (await world.database.raw<{ rows: unknown[] }>(sql, [of])).rows;
  const said = await world.said(workspace);
  return {
    lines: await rows('select item_id, purchase_id, revoked, policy, reason from entitlement_lines where org_id = ? order by 1, 2', org),
    record: await rows('select runtime, template, plugins, status, epoch, generation, record_version, removed from workspace_records where workspace_id = ?'),
    delivery: await rows(
      `select present, staged - 'attempt' as staged, applying, announced, restart_requested, restart_due_at, lapses_announced, parked_code
       from deliveries where workspace_id = ?`),
    receipts: await rows('select path, sha256, item_id, version from receipts where workspace_id = ? order by 1, 2'),
    directories: await rows('select path from receipt_directories where workspace_id = ? order by 1'),
    items: await rows('select item_id, via from workspace_items where workspace_id = ? order by 1, 2'),
    pending: await rows('select lane from pending where workspace_id = ?'),
    open: await rows('select 1 from attempts where workspace_id = ? and ended_at is null'),
    said: said.map(({ type, body }) => [type, Object.fromEntries(Object.entries(body).filter(([field]) => !perRun.has(field)))]),
    files: listing(world.volume(workspace), (name) => name !== '.waybill'),
    kept: filesBelow(join(world.volume(workspace), '.waybill/kept')).map((file) => readFileSync(file, 'utf8')).toSorted(),
  };
}

function filesBelow(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
  return names.map((name) => join(folder, name)).filter((file) => lstatSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

/**
 * The model boot: it starts only on AssetsReady of the current (epoch, generation), and then reads everything. Undefined:
 * it does not start. Otherwise what is not as AssetsReady says; what the user wrote at paths of their own is no fault.
 */
export async function boot({ world, workspace }: Case): Promise<string[] | undefined> {
  const { rows: [record] } = await world.database.raw<{ rows: { status: string; epoch: number; generation: number }[] }>(
    'select status, epoch, generation from workspace_records where workspace_id = ?', [workspace],
  );
  // What was taken away at once is said by AssetsRevoked; whoever boots has read it.
  const last = (await world.said(workspace)).filter(({ type, body }) =>
    type === 'AssetsReady' || type === 'AssetsRejected' || (type === 'AssetsRevoked' && body['effect'] === 'removed' && body['reason'] === 'malware')).at(-1);
  if (record?.status !== 'provisioning' || last?.type !== 'AssetsReady') return undefined;
  const { body } = last;
  if (body['epoch'] !== record.epoch || body['generation'] !== record.generation) return undefined;
  const items = body['items'] as { item_id: string; version: string }[]; // as the schema has it
  const users = body['user_files_paths'] as string[]; // as the schema has it
  const found = world.files(workspace);
  const isMoved = items.some((item) => item.item_id === 'voice' && item.version === '2.0.0');
  const expected = { ...placed(...items.map((item) => item.item_id)), ...(isMoved ? placedVoice2 : {}) };
  const wrong = Object.entries(expected).filter(([path, text]) => !users.includes(path) && found[path] !== text).map(([path]) => `${path} is ${found[path] === undefined ? 'missing' : 'different'}`);
  const foreign = Object.entries(found).filter(([path, text]) => !(path in expected) && text.includes('CANARY-')).map(([path]) => `${path} is of no wanted item`);
  return [...wrong, ...foreign];
}

/** Where plaintext of an item lies: on the volume, waybill's own folder included, in the database, in the logs given (I9). */
export async function plaintextOf({ world, workspace }: Case, item: ItemName, logs: readonly string[]): Promise<string[]> {
  const mark = `${canary(item)}\n`;
  const onVolume = filesBelow(world.volume(workspace)).filter((file) => readFileSync(file, 'utf8').includes(mark));
  const { rows } = await world.database.raw<{ rows: { place: string }[] }>(
    `select 'audit' as place from audit t where t::text like :mark union all select 'outbox' from waybill_outbox t where t::text like :mark
     union all select 'attempts' from attempts t where t::text like :mark union all select 'dead letters' from dead_letters t where t::text like :mark`,
    { mark: `%${canary(item)}%` },
  );
  return [...onVolume, ...rows.map(({ place }) => place), ...logs.filter((log) => log.includes(canary(item))).map(() => 'a log')];
}
