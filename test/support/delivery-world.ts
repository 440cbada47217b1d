import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inject } from 'vitest';

import { createGitRepository } from '../../adapters/git/git-repository.ts';
import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import { createSealer, createUnsealer } from '../../adapters/kms/envelope.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { createManifestSigner } from '../../adapters/kms/manifest-signer.ts';
import { createSellerKeys } from '../../adapters/kms/seller-keys.ts';
import { createArtifactStore } from '../../adapters/s3/artifact-store.ts';
import { createVolumeWork } from '../../adapters/volume/create-volume-work.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { publishRelease, type PublishDeps } from '../../catalogue/publish/publish.ts';
import { createSeller } from '../../catalogue/publish/seller.ts';
import { changeStatus, setChannel, type DecidedStatus } from '../../catalogue/releases.ts';
import { runAttempt, type DeliveryDeps } from '../../delivery/attempt.ts';
import { CiphertextCache } from '../../delivery/sources/ciphertext-cache.ts';
import { deliver } from '../../delivery/worker.ts';
import { wakeNextPage } from '../../delivery/fan-out.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { ByteBudget } from '../../process/byte-budget.ts';
import { openDatabase, tx, type Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { migrate } from '../../process/migrate.ts';
import { claim, type Claim } from '../../process/pending.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { parseChannel, parseItemId, parseSellerId, parseVersion } from '../../schemas/ids.ts';
import type { EventByType, RevokeReason, WorkspaceStatus } from '../../schemas/generated/events.ts';
import { dyingWorker, type Death } from './dying-worker.ts';
import { isolate, type Isolated } from './isolated.ts';

/** Files of a release: path → content. */
export type Files = Readonly<Record<string, string>>;

type RecordFields = Omit<EventByType['TemplateChanged'], 'event_id' | 'occurred_at' | 'caused_by' | 'run_id'>;

/** `boot` begins the next epoch, in status provisioning. */
export interface RecordChange {
  readonly template?: string | null;
  readonly plugins?: readonly string[];
  readonly status?: WorkspaceStatus;
  readonly boot?: boolean;
  readonly runtime?: string;
  readonly delivery_mode?: 'volume' | 'box';
}

/** What waybill.assets would say: an outbox row's type and body. */
export interface Said {
  readonly type: string;
  readonly body: Record<string, unknown>;
}

/**
 * Deliveries on a real database, object store, KMS, git repository and file system, without Kafka between: events are
 * folded as the consumers fold them, due workspaces are claimed as the worker claims them, one after the other.
 */
export class DeliveryWorld {
  readonly database: Database;
  readonly deps: DeliveryDeps;
  readonly folder: string;
  /** Of the lines and records from here on. */
  org: string = randomUUID();
  readonly isolated: Isolated;
  /** Releases fetched so far. */
  fetches = 0;
  /** What was folded so far: what the topics of other teams hold. */
  readonly #log: ({ readonly line: Parameters<typeof applyEntitlementBatch>[1][number] } | { readonly record: Parameters<typeof foldRecords>[1][number] })[] = [];
  readonly #publish: PublishDeps;
  readonly #close: () => Promise<void>;
  readonly #records = new Map<string, RecordFields>();
  readonly #lines = new Map<string, number>();

  private constructor(isolated: Isolated, database: Database, deps: DeliveryDeps, publish: PublishDeps, folder: string, close: () => Promise<void>) {
    this.isolated = isolated;
    this.database = database;
    this.deps = deps;
    this.folder = folder;
    this.#publish = publish;
    this.#close = close;
  }

  /** `server`: the URL of a PostgreSQL other than that of the run's stack. */
  static async open(server?: string): Promise<DeliveryWorld> {
    const isolated = await isolate(server);
    const { s3, kms: kmsSettings } = inject('stack');
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-world-')));
    const database = openDatabase(isolated.databaseUrl);
    await migrate(database, ['outbox', 'waybill']);
    const store = createArtifactStore({ ...s3, bucket: isolated.bucket });
    const kms = openKms(kmsSettings);
    const fetcher = createGuardedFetch({ hosts: [], privateHosts: [new URL(s3.endpoint).host], timeoutMs: 10_000, idleMs: 3_000 });
    const volumes = createVolumeWork({ threads: 1, entryBytesMax: defaultLimits.entryBytesMax });
    for (const seller of ['platform', 'acme']) await createSeller(database, createSellerKeys(kms), parseSellerId(seller));
    const world: DeliveryWorld = new DeliveryWorld(isolated, database, {
      database, volumes, signer: store, unsealerOf: (wrappingKeyId) => createUnsealer(kms, wrappingKeyId), limits: defaultLimits, budget: new ByteBudget(64 * 1024 * 1024),
      git: { archives: [], bytesMax: 1024 * 1024, platformToken: undefined, repositories: [] },
      ciphertexts: new CiphertextCache(0), // tests change what lies in the store
      fetcher: { get: async (request) => { world.fetches += 1; return await fetcher.get(request); } },
      volumeOf: (workspaceId) => join(folder, 'volumes', workspaceId),
      options: { thirdPartySellers: false, settleWindowMs: 0 },
    }, {
      database, store, limits: defaultLimits, signer: createManifestSigner(kms), sealer: createSealer(kms),
      source: createGitRepository({ timeoutMs: 20_000, resolveHost: async () => '127.0.0.1' }),
    }, folder, async () => {
      await volumes.close();
      await fetcher.close();
      store.close();
      kms.destroy();
      await database.destroy();
      await isolated.drop();
      rmSync(folder, { recursive: true, force: true });
    });
    return world;
  }

  async close(): Promise<void> {
    await this.#close();
  }

  /** Publishes a release from a real commit, approved and on the channel `stable` or another, or with null on none. */
  async publish(item: string, version: string, files: Files, terms: { kind?: 'template' | 'plugin'; access?: 'sold' | 'open' | 'platform'; seller?: 'platform' | 'acme'; origin?: string; runtimes?: readonly string[]; channel?: string | null; database?: Database } = {}): Promise<void> {
    const repository = join(this.folder, `${item}.git`);
    const git = (...args: string[]): string => execFileSync('git', ['-C', repository, ...args], {
      encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.org', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.org' },
    });
    if (!existsSync(repository)) {
      mkdirSync(repository);
      git('init', '-q', '-b', 'main');
      if (terms.origin !== undefined) git('remote', 'add', 'origin', terms.origin);
    }
    rmSync(join(repository, 'release'), { recursive: true, force: true });
    writeFiles(join(repository, 'release'), files);
    git('add', '-A');
    git('commit', '-q', '--allow-empty', '-m', version);
    await publishRelease({ ...this.#publish, database: terms.database ?? this.database }, {
      repository, commit: git('rev-parse', 'HEAD').trim(), path: 'release', seller: terms.seller ?? 'platform', item, kind: terms.kind ?? 'template', version,
      runtimes: terms.runtimes ?? ['claude-code'], approve: true, ...(terms.channel !== null && { channel: terms.channel ?? 'stable' }), ...(terms.access !== undefined && { access: terms.access }),
    });
  }

  /** A purchase or, with a reason, its revocation, folded. */
  async line(item: string, revoked?: RevokeReason, purchase = 'p-1', policy = 'stable'): Promise<void> {
    const version = (this.#lines.get(item + purchase) ?? 0) + 1;
    this.#lines.set(item + purchase, version);
    const content = {
      ...envelope(), org_id: this.org, item_id: item, purchase_id: purchase, entitlement_version: version, source: 'purchase', policy,
      valid_from: 0, valid_until: null,
    };
    const event = revoked === undefined ? parseEvent('Purchase', content) : parseEvent('Revoke', { ...content, ended_at: Date.now(), reason: revoked });
    this.#log.push({ line: event });
    await tx(this.database, async (trx) => { await applyEntitlementBatch(trx, [event]); });
  }

  /** Folds everything again, as consumers do that were set back. */
  async foldAgain(): Promise<void> {
    for (const one of this.#log) {
      await tx(this.database, async (trx) => { await ('line' in one ? applyEntitlementBatch(trx, [one.line]) : foldRecords(trx, [one.record])); });
    }
  }

  /** Gives a release another status, as an operator does. */
  async decide(item: string, version: string, status: DecidedStatus): Promise<void> {
    await changeStatus(this.database, { itemId: parseItemId(item), version: parseVersion(version), status, reason: 'a test' });
  }

  /** Points the channel `stable` to an approved release. */
  async point(item: string, version: string): Promise<void> {
    await setChannel(this.database, { itemId: parseItemId(item), version: parseVersion(version), channel: parseChannel('stable'), reason: 'a test' });
  }

  /** An empty volume for a workspace whose records come from elsewhere. */
  adopt(workspaceId: string): void {
    mkdirSync(this.volume(workspaceId), { recursive: true });
  }

  /** Changes the record of a workspace as the control plane would, and folds it. A new workspace has a new volume. */
  async record(workspaceId: string, change: RecordChange): Promise<void> {
    const before = this.#records.get(workspaceId) ?? {
      workspace_id: workspaceId, org_id: this.org, runtime: 'claude-code', template: null, plugins: [], status: 'provisioning',
      delivery_mode: 'volume', epoch: 1, generation: 1, record_version: 0, origin: 'user',
    } as unknown as RecordFields; // parseEvent below brands it
    const isChanged = 'template' in change || 'plugins' in change || 'runtime' in change;
    const { boot = false, ...fields } = change;
    const after = {
      ...before, ...fields, status: boot ? 'provisioning' : fields.status ?? before.status, epoch: before.epoch + (boot ? 1 : 0),
      generation: before.generation + (isChanged && before.record_version > 0 ? 1 : 0), record_version: before.record_version + 1,
    };
    const event = parseEvent('TemplateChanged', { ...envelope(), ...after });
    this.#records.set(workspaceId, event.event);
    mkdirSync(this.volume(workspaceId), { recursive: true });
    this.#log.push({ record: event });
    await tx(this.database, async (trx) => { await foldRecords(trx, [event]); });
  }

  /** A workspace that has booted with what it asks for and is online, and has nothing due. */
  async online(template: string | null, plugins: readonly string[] = []): Promise<string> {
    const workspaceId = randomUUID();
    await this.record(workspaceId, { template, plugins });
    await this.settle();
    await this.record(workspaceId, { status: 'online' });
    await this.settle();
    return workspaceId;
  }

  /**
   * Delivers until nothing is due now. A service that was slow for a moment (the machine is shared) is asked again at once
   * instead of after the backoff; every other failure waits as it does in the worker. Returns how many claims that took.
   */
  async settle(deps: DeliveryDeps = this.deps): Promise<number> {
    for (let hasMore = true; hasMore;) hasMore = await wakeNextPage(this.database);
    for (let claims = 0; ; claims += 1) {
      const claimed = (await this.claim()) ?? (await this.#claimUnwell());
      if (claimed === undefined) return claims;
      if (claims > 20) throw new Error('the workspaces never come to rest');
      await deliver(deps, claimed, 60_000, silentLogger);
    }
  }

  async #claimUnwell(): Promise<Claim | undefined> {
    await this.database.raw(
      `update pending set at = clock_timestamp() where tries between 1 and 5 and exists (
         select from attempts a where a.workspace_id = pending.workspace_id and a.attempt = pending.attempt
           and a.outcome = 'failed' and a.code in ('UNAVAILABLE', 'UPSTREAM'))`,
    );
    return await this.claim();
  }

  async claim(leaseMs = 60_000): Promise<Claim | undefined> {
    return (await claim(this.database, 1, leaseMs))[0];
  }

  /** A worker takes what is due and is killed at that point; its lease is over. False: it was done before it got there. */
  async die(death: Death, deps: DeliveryDeps = this.deps): Promise<boolean> {
    const claimed = await this.claim(0);
    if (claimed === undefined) return false;
    const worker = dyingWorker(deps, death);
    try {
      await this.attempt(claimed, worker.deps);
    } catch (error) {
      if (!worker.isDead()) throw error;
    }
    return worker.isDead();
  }

  /** As if a long time had passed for a workspace: backoff, settle window and cap of restarts are over. False: it waits for nothing. */
  async wait(workspaceId: string): Promise<boolean> {
    await this.database.raw(
      `update deliveries set restart_due_at = case when restart_due_at is not null then to_timestamp(0) end, restarts_asked = '{}' where workspace_id = ?`, [workspaceId],
    );
    const { rowCount } = await this.database.raw<{ rowCount: number }>(
      `update pending set at = to_timestamp(0), lease_until = '-infinity' where workspace_id = ?`, [workspaceId],
    );
    return rowCount > 0;
  }

  /** One attempt, whose failure is the caller's. */
  async attempt(claimed: Claim, deps: DeliveryDeps = this.deps): Promise<void> {
    await runAttempt(deps, claimed);
  }

  /** What was said of a workspace, in order. */
  async said(workspaceId: string): Promise<Said[]> {
    const { rows } = await this.database.raw<{ rows: Said[] }>(
      `select type, body from waybill_outbox where topic = 'waybill.assets' and key = ? order by id`, [workspaceId],
    );
    return rows;
  }

  volume(workspaceId: string): string {
    return this.deps.volumeOf(workspaceId);
  }

  /** Every file of a volume, waybill's own folder left out: path → content. */
  files(workspaceId: string): Record<string, string> {
    return readFiles(this.volume(workspaceId), (path) => !path.startsWith('.waybill'));
  }

  /** Files that the user puts into a volume. */
  write(workspaceId: string, files: Files): void {
    writeFiles(this.volume(workspaceId), files);
  }

  /** Every file in waybill's own folder of a volume. */
  residue(workspaceId: string): string[] {
    return filesBelow(this.volume(workspaceId), (path) => path.startsWith('.waybill'));
  }
}

export function writeFiles(root: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

/** Paths of the files below a folder; one that goes meanwhile (an agent is at work) is none. */
function filesBelow(root: string, include: (path: string) => boolean): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => include(path) && lstatSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true).toSorted();
}

function readFiles(root: string, include: (path: string) => boolean): Record<string, string> {
  return Object.fromEntries(filesBelow(root, include).map((path) => [path, readFileSync(join(root, path), 'utf8')]));
}

const envelope = () => ({ event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null });
