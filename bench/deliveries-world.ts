import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { loadSealedReleases, type SealedRelease } from '../catalogue/lookup.ts';
import { createSeller } from '../catalogue/publish/seller.ts';
import { publishRelease } from '../catalogue/publish/publish.ts';
import { migrateDatabase } from '../cli/migrate.ts';
import { foldRecords } from '../delivery/fold-records.ts';
import { applyEntitlementBatch } from '../entitlements/apply-batch.ts';
import { readConfig, type Config } from '../process/config.ts';
import { openDatabase, tx, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { silentLogger } from '../process/log.ts';
import { parseItemId, parseSellerId, parseVersion } from '../schemas/ids.ts';
import { parseEvent } from '../schemas/parse-event.ts';
import { connectionsAsEnvironment } from '../stack/connections.ts';
import { startStack } from '../stack/stack.ts';
import { applyTopicTable, registerSchemaTable, settingsOf, wireDatabase, wirePublishing } from '../wire.ts';

/** What is delivered: 200 files of 10,485 bytes in 20 folders. */
export const release = { item: 'agent', version: '1.0.0', files: 200, folders: 20, bytes: 2 * 1024 * 1024 } as const;

const settings = [
  ...settingsOf.publish, ...settingsOf.topics, ...settingsOf.schemas, ...settingsOf.entitlements, ...settingsOf.workspaces,
  ...settingsOf.deliveries, ...settingsOf.sweep, ...settingsOf.relay, ...settingsOf.feed,
] as const;
export type WorldConfig = Config<(typeof settings)[number]>;

/** The services, one approved release that one org has bought, and workspaces of that org. */
export interface DeliveriesWorld {
  readonly config: WorldConfig;
  /** The pipeline's database, fresh for this run. */
  readonly database: Database;
  readonly controlPlane: { readonly databaseUrl: string; readonly databaseSchema: string };
  readonly org: string;
  readonly sealed: SealedRelease;
  /** Empty volumes, and records folded as the consumer folds them: booting workspaces that are due once `go` is called. */
  seed(count: number): Promise<{ readonly workspaces: readonly string[]; readonly go: () => Promise<void> }>;
  /** Resolves when nothing is due and every attempt has ended. Fails when a workspace is not ready then. */
  settled(workspaces: readonly string[]): Promise<void>;
  makeVolume(workspace: string): void;
  /** Waits until everything is on disk, so that no candidate pays for what another left to write. Volumes stay until the end. */
  syncVolumes(): void;
  close(): Promise<void>;
}

export async function openDeliveriesWorld(say: (line: string) => void): Promise<DeliveriesWorld> {
  const stateDir = resolve('.waybill/bench-deliveries');
  const stack = await startStack({ stateDir, report: say });
  const resources = new AsyncDisposableStack();
  resources.defer(async () => { await stack.stop(); });
  try {
    await inodesForgotten(stateDir, say);
    const id = randomBytes(4).toString('hex');
    const { databaseUrl } = stack.connections;
    const root = resources.use(wireDatabase({ databaseUrl, databaseSchema: 'public' }, 'bench', 1));
    await root.raw('create database ??', [`bench_${id}`]);
    resources.defer(async () => { await root.raw('drop database ?? with (force)', [`bench_${id}`]); });
    const own = new URL(databaseUrl);
    own.pathname = `/bench_${id}`;
    const folder = mkdtempSync(join(stateDir, 'run-'));
    resources.defer(() => {
      rmSync(folder, { recursive: true, force: true });
      writeFileSync(join(stateDir, removedFile), '');
    });
    mkdirSync(join(folder, 'volumes'));
    const config = readConfig(settings, {
      ...connectionsAsEnvironment(stack.connections), WAYBILL_DATABASE_URL: own.href, WAYBILL_DATABASE_SCHEMA: 'waybill', WAYBILL_TOPIC_PREFIX: `bench-${id}.`,
      WAYBILL_S3_BUCKET: `bench-${id}`, WAYBILL_REPLICATION_FACTOR: '1', WAYBILL_SESSION_TIMEOUT_MS: '6000', WAYBILL_VOLUMES: join(folder, 'volumes'),
    }, {});
    const controlPlane = { databaseUrl: own.href, databaseSchema: 'control_plane' };
    for (const [owner, place] of [['waybill', config], ['control-plane', controlPlane]] as const) {
      await using opened = wireDatabase(place, 'migrate', 2);
      await migrateDatabase(opened, owner, place.databaseSchema);
    }
    await applyTopicTable(config, silentLogger);
    await registerSchemaTable(config);
    await publish(config, join(folder, 'repository'));
    const database = openDatabase(config.databaseUrl, { schema: config.databaseSchema, name: 'bench', poolMax: 4 });
    resources.defer(async () => { await database.destroy(); });
    const [sealed] = await loadSealedReleases(database, [{ itemId: parseItemId(release.item), version: parseVersion(release.version) }]);
    if (sealed === undefined) throw new Error('the release of the benchmark was published and is not there');
    say(`published ${release.item} ${release.version}: ${release.files} files, ${sealed.archiveBytes} bytes, ${sealed.ciphertextBytes} sealed`);
    const org = randomUUID();
    await buy(database, org);
    return { config, database, controlPlane, org, sealed, ...workspacesOf(database, org, config.volumesRoot), close: async () => { await resources.disposeAsync(); } };
  } catch (error) {
    await resources.disposeAsync();
    throw error;
  }
}

/** Written when the volumes of a run were removed. */
const removedFile = 'removed';
const rememberedMs = 60_000;

/** ext4 does not reuse an inode for a minute after it was freed, and passes all of those by for each new file: a run right after another would be half as fast. */
async function inodesForgotten(stateDir: string, say: (line: string) => void): Promise<void> {
  const removedAt = statSync(join(stateDir, removedFile), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const waitMs = removedAt + rememberedMs - Date.now();
  if (waitMs <= 0) return;
  say(`the volumes of the last run were removed just now: waiting ${Math.ceil(waitMs / 1000)} s`);
  await delay(waitMs);
}

/** Text as a skill has it, so that it compresses about as well: hex digits, half of whose bits are redundant. */
function fileOf(n: number): string {
  const length = Math.floor(release.bytes / release.files);
  let text = '';
  for (let block = 0; text.length < length; block += 1) text += `${createHash('sha512').update(`${n}/${block}`).digest('hex')}\n`;
  return text.slice(0, length);
}

async function publish(config: WorldConfig, repository: string): Promise<void> {
  for (let n = 0; n < release.files - 2; n += 1) write(join(repository, 'release', 'reference', `chapter-${n % (release.folders - 1)}`, `part-${n}.md`), fileOf(n));
  write(join(repository, 'release', 'system-prompt.md'), fileOf(release.files));
  write(join(repository, 'release', 'config.yaml'), 'runtime: claude-code\n');
  const git = (...args: string[]): string => execFileSync('git', ['-C', repository, '-c', 'user.name=bench', '-c', 'user.email=bench@example.org', ...args], { encoding: 'utf8' });
  git('init', '--quiet', '--template=', '--initial-branch=main');
  git('add', '--all');
  git('commit', '--quiet', '--message', 'The release of the benchmark');
  await using publishing = wirePublishing(config);
  await publishing.ensureBucket();
  await createSeller(publishing.deps.database, publishing.sellerKeys, parseSellerId('platform'));
  await publishRelease(publishing.deps, {
    repository, commit: git('rev-parse', 'HEAD').trim(), path: 'release', seller: 'platform', item: release.item, kind: 'template', version: release.version,
    access: 'sold', runtimes: ['claude-code'], approve: true, channel: 'stable',
  });
}

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

const envelope = () => ({ event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null });

async function buy(database: Database, org: string): Promise<void> {
  const event = parseEvent('Purchase', {
    ...envelope(), org_id: org, item_id: release.item, purchase_id: 'bench', entitlement_version: 1, source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null,
  });
  await tx(database, async (trx) => { await applyEntitlementBatch(trx, [event]); });
}

/** Records folded in one transaction. */
const foldMax = 500;

function workspacesOf(database: Database, org: string, volumesRoot: string): Pick<DeliveriesWorld, 'seed' | 'settled' | 'makeVolume' | 'syncVolumes'> {
  const makeVolume = (workspace: string): void => { mkdirSync(join(volumesRoot, workspace), { recursive: true }); };
  return {
    makeVolume,
    async seed(count) {
      const workspaces = Array.from({ length: count }, () => randomUUID());
      workspaces.forEach(makeVolume);
      const events = workspaces.map((workspace) => parseEvent('TemplateChanged', {
        ...envelope(), workspace_id: workspace, org_id: org, runtime: 'claude-code', template: release.item, plugins: [], status: 'provisioning', delivery_mode: 'volume',
        epoch: 1, generation: 1, record_version: 1, origin: 'user',
      }));
      for (let from = 0; from < count; from += foldMax) {
        await tx(database, async (trx) => {
          await foldRecords(trx, events.slice(from, from + foldMax));
          await trx.raw('update pending set paused = true');
        });
      }
      return { workspaces, go: async () => { await database.raw('update pending set paused = false'); } };
    },
    async settled(workspaces) {
      for (;;) {
        const { rows: [row] } = await database.raw<{ rows: { busy: boolean }[] }>(
          'select exists (select from pending) or exists (select from attempts where ended_at is null) as busy',
        );
        if (row?.busy === false) break;
        await delay(25);
      }
      const { rows } = await database.raw<{ rows: { workspace_id: string }[] }>(
        `select workspace_id from deliveries where workspace_id = any(?::uuid[]) and announced->>'kind' = 'ready'`, [[...workspaces]],
      );
      if (rows.length === workspaces.length) return;
      throw new Failure('fault', 'FAULT', `${rows.length} of ${workspaces.length} workspaces of the benchmark became ready`);
    },
    syncVolumes() {
      execFileSync('sync', ['-f', volumesRoot]);
    },
  };
}
