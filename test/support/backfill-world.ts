import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { inject } from 'vitest';

import { readDigests } from '../../adapters/volume/read-digests.ts';
import { recordBaseline } from '../../catalogue/baselines.ts';
import { findItem } from '../../catalogue/lookup.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import type { RecordEvent } from '../../delivery/workspace-record.ts';
import { tx, type Database, type Transaction } from '../../process/database.ts';
import { changeStatus, changeTemplate, provisionWorkspace, recordAssetsReady, startEpoch } from '../../producers/control-plane.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import type { BackfillDeps } from '../../replay/backfill/backfill-deps.ts';
import type { DriveOptions } from '../../replay/run/drive-run.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';
import { isEventType } from '../../schemas/topics.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { DeliveryWorld, writeFiles, type Files } from './delivery-world.ts';
import { openProducers } from './producer-databases.ts';

/** What the platform wrote into SEO workspaces before waybill existed, below the config root. */
export const oldSeo: Files = { 'system-prompt.md': 'You are the SEO agent of 2025.\n', 'config.yaml': 'agent: {name: seo}\n', 'notes.md': 'old notes\n' };
/** What the release brings. */
export const newSeo: Files = { 'system-prompt.md': 'You are the SEO agent.\n', 'config.yaml': 'agent: {name: seo-agent}\n', 'skills/audit/SKILL.md': '---\nname: audit\ndescription: Audits.\n---\nLook.\n' };
export const newSupport: Files = { 'system-prompt.md': 'You support.\n', 'config.yaml': 'agent: {name: support}\n' };

const under = (root: string, files: Files): Files => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${root}/${path}`, text]));

/** A control plane with a database of its own before a DeliveryWorld: workspaces that were there before waybill. */
export class BackfillWorld {
  readonly world: DeliveryWorld;
  readonly controlPlane: Database;
  readonly deps: BackfillDeps;
  readonly catalogue: CatalogueLookup;
  #sent = 0;
  #heard = 0;

  private constructor(world: DeliveryWorld, controlPlane: Database) {
    this.world = world;
    this.controlPlane = controlPlane;
    this.catalogue = { findItem: async (itemId) => await findItem(world.database, itemId) };
    this.deps = {
      database: world.database, controlPlane, thirdPartySellers: false,
      readDigests: async (workspaceId, paths) => await Promise.resolve(readDigests(world.volume(workspaceId), paths, 1 << 20)),
    };
  }

  /** Two templates published, the old SEO files recorded as the identity of `seo-agent`, an org that has bought it. */
  static async open(): Promise<BackfillWorld> {
    const world = await DeliveryWorld.open();
    const opened = new BackfillWorld(world, await openProducers(world.isolated.databaseUrl, 'control_plane'));
    await world.publish('seo-agent', '1.0.0', newSeo);
    await world.publish('support-agent', '1.0.0', newSupport);
    await recordBaseline(world.database, {
      runtime: parseRuntimeId('claude-code'), itemId: parseItemId('seo-agent'), reason: 'image 2025',
      files: Object.entries(oldSeo).map(([path, text]) => ({ path, sha256: sha256(text) })),
    });
    await world.line('seo-agent');
    await world.line('support-agent');
    return opened;
  }

  async close(): Promise<void> {
    await this.controlPlane.destroy();
    await this.world.close();
  }

  /** How a command holds a run, without its command line. */
  options(more: Partial<DriveOptions> = {}): DriveOptions {
    return { measuring: { database: this.world.database }, holder: 'test', signal: new AbortController().signal, ...more };
  }

  /** A workspace that runs today without a template, with these files below its config root. */
  async workspace(files: Files = oldSeo, { status = 'online', org = this.world.org }: { status?: 'online' | 'provisioning'; org?: string } = {}): Promise<string> {
    const id = randomUUID();
    mkdirSync(this.world.volume(id), { recursive: true });
    writeFiles(this.world.volume(id), under('configs', files));
    await this.there(async (trx) => {
      await provisionWorkspace(trx, this.catalogue, { workspace_id: id, org_id: org, runtime: 'claude-code' });
      if (status === 'online') await changeStatus(trx, { workspace_id: id, status: 'online' });
    });
    return id;
  }

  /** Something that the control plane does by itself. */
  async there<T>(work: (trx: Transaction) => Promise<T>): Promise<T> {
    return await tx(this.controlPlane, work);
  }

  /** A user sets the template by hand. */
  async setByHand(workspace_id: string, template: string | null): Promise<void> {
    await this.there(async (trx) => { await changeTemplate(trx, this.catalogue, { workspace_id, template }); });
  }

  /** Carries events from the control plane's outbox to the pipeline and back, and delivers, until both are at rest. */
  async flow(): Promise<void> {
    const { rows } = await this.controlPlane.raw<{ rows: { id: number; type: string; body: unknown }[] }>('select id, type, body from waybill_outbox where id > ? order by id', [this.#sent]);
    if (rows.length > 0) {
      const events = rows.flatMap(({ type, body }) => (isEventType(type) ? [parseEvent(type, body)] : []));
      await tx(this.world.database, async (trx) => { await foldRecords(trx, events as RecordEvent[]); }); // the control plane says nothing else
      this.#sent = rows.at(-1)?.id ?? this.#sent;
    }
    await this.world.settle();
    const { rows: said } = await this.world.database.raw<{ rows: { id: number; type: string; body: unknown }[] }>(
      `select id, type, body from waybill_outbox where id > ? and type = 'AssetsReady' order by id`, [this.#heard],
    );
    for (const { id, body } of said) {
      const ready = parseEvent('AssetsReady', body).event;
      await this.there(async (trx) => {
        await recordAssetsReady(trx, ready);
        await changeStatus(trx, { workspace_id: ready.workspace_id, status: 'online' });
      });
      this.#heard = id;
    }
    if (said.length > 0) await this.flow();
    else await this.relay();
  }

  /** There is no relay in this world: what stands in the outboxes counts as published. */
  async relay(): Promise<void> {
    for (const database of [this.controlPlane, this.world.database]) await database.raw('update waybill_outbox set sent_at = clock_timestamp() where sent_at is null');
  }

  /** The control plane restarts workspaces, as it was asked to, and they boot. */
  async boot(...ids: readonly string[]): Promise<void> {
    await this.there(async (trx) => { for (const workspace_id of ids) await startEpoch(trx, this.catalogue, { workspace_id }); });
    await this.flow();
  }

  /** Id, template, version, and who changed it last, of every record. */
  async records(): Promise<{ id: string; template: string | null; version: number }[]> {
    const { rows } = await this.controlPlane.raw<{ rows: { id: string; template: string | null; version: number }[] }>(
      'select workspace_id as id, template, record_version as version from waybill_workspaces order by workspace_id',
    );
    return rows;
  }

  /** What the control plane has published so far. */
  async published(): Promise<number> {
    const { rows: [row] } = await this.controlPlane.raw<{ rows: { count: number }[] }>('select count(*) as count from waybill_outbox');
    return row?.count ?? 0;
  }

  /** For commands that run on this world, in this process or another. */
  environment(): Record<string, string> {
    const { isolated, folder } = this.world;
    return {
      ...connectionsAsEnvironment(inject('stack')),
      WAYBILL_DATABASE_URL: isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'public',
      WAYBILL_CONTROL_PLANE_DATABASE_URL: isolated.databaseUrl, WAYBILL_CONTROL_PLANE_DATABASE_SCHEMA: 'control_plane',
      WAYBILL_TOPIC_PREFIX: isolated.topicPrefix, WAYBILL_S3_BUCKET: isolated.bucket, WAYBILL_REPLICATION_FACTOR: '1',
      WAYBILL_VOLUMES: join(folder, 'volumes'), WAYBILL_STATE_DIR: '/nowhere/at/all',
    };
  }
}
