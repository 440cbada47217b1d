import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { Knex } from 'knex';

import type { CatalogueLookup } from '../../producers/check-items.ts';
import { readAssets, type AssetsEvent, type ReadAssetsOptions } from '../../producers/client.ts';
import { changePlugins, changeStatus, changeTemplate, provisionWorkspace, recordAssets, startEpoch, type RecordResult, type WorkspaceInput } from '../../producers/control-plane.ts';

/**
 * A control plane as small as it can be: it keeps the records of workspaces in a database of its own, through the library,
 * and does what waybill.assets asks of it. Whatever else it writes about a change would stand in the same transaction.
 */
export class ControlPlane {
  readonly #database: Knex;
  readonly #catalogue: CatalogueLookup;
  readonly #volumes: string;

  /** `volumes`: the folder that the volume of each workspace is mounted in, by its id. */
  constructor(database: Knex, catalogue: CatalogueLookup, volumes: string) {
    this.#database = database;
    this.#catalogue = catalogue;
    this.#volumes = volumes;
  }

  /** A new workspace with an empty volume: it boots, and waits for AssetsReady. */
  async provision(workspace: WorkspaceInput): Promise<RecordResult> {
    await makeVolume(this.#volumes, workspace.workspace_id);
    return await this.#database.transaction(async (trx) => await provisionWorkspace(trx, this.#catalogue, workspace));
  }

  /** Another template; null clears it. Goes live in the next epoch, which waybill asks for when all is staged. */
  async assignTemplate(workspaceId: string, template: string | null): Promise<RecordResult> {
    return await this.#database.transaction(async (trx) => await changeTemplate(trx, this.#catalogue, { workspace_id: workspaceId, template }));
  }

  async assignPlugins(workspaceId: string, plugins: readonly string[]): Promise<RecordResult> {
    return await this.#database.transaction(async (trx) => await changePlugins(trx, this.#catalogue, { workspace_id: workspaceId, plugins }));
  }

  /** Throws MISSING_ASSETS while this boot has not been told that its assets are there (C11). */
  async goOnline(workspaceId: string): Promise<RecordResult> {
    return await this.#database.transaction(async (trx) => await changeStatus(trx, { workspace_id: workspaceId, status: 'online' }));
  }

  /** Does what waybill.assets asks for, until the signal is aborted. `told` hears each event that was dealt with. */
  async run(feed: Omit<ReadAssetsOptions, 'onEvent'>, told: (event: AssetsEvent) => void = () => undefined): Promise<void> {
    await readAssets({
      ...feed,
      onEvent: async (event) => {
        await this.handle(event, feed.signal);
        told(event);
      },
    });
  }

  /**
   * What is done about one event: AssetsReady lets the boot go on, RestartRequested ends the epoch once its settle window
   * is over. A refusal needs nothing here: the boot keeps waiting, and waybill goes on by itself when the cause is gone.
   * Everything may be told twice, and twice changes nothing.
   */
  async handle(said: AssetsEvent, signal: AbortSignal): Promise<void> {
    const { type, event } = said;
    switch (type) {
      case 'AssetsReady':
        await this.#database.transaction(async (trx) => {
          await recordAssets(trx, said);
          // A workspace that was paused meanwhile stays so; one whose record has changed waits for its own AssetsReady, and one
          // that was told something newer (this may be a repeat) for the next.
          const record = await trx<Booting>('waybill_workspaces').where({ workspace_id: event.workspace_id }).forUpdate().first('status', 'epoch', 'generation', 'ready_assets_version');
          const isThisBoot = record?.status === 'provisioning' && Number(record.epoch) === event.epoch && Number(record.generation) === event.generation
            && Number(record.ready_assets_version) === event.assets_version;
          if (isThisBoot) await changeStatus(trx, { workspace_id: event.workspace_id, status: 'online' }, { causedBy: event.event_id });
        });
        return;
      case 'RestartRequested':
        // A control plane with users would keep the request in its database, and ask them when it suits.
        await delay(Math.max(0, event.not_before - Date.now()), undefined, { signal });
        await this.#database.transaction(async (trx) =>
          await startEpoch(trx, this.#catalogue, { workspace_id: event.workspace_id, ends_epoch: event.epoch }, { causedBy: event.event_id, origin: 'system' }));
        return;
      case 'AssetsRejected':
      case 'AssetsRevoked':
        // Whoever was about to go online on an AssetsReady that holds no longer is refused.
        await this.#database.transaction(async (trx) => { await recordAssets(trx, said); });
        return;
    }
  }
}

/** The volume is there before the record says so: waybill delivers to volumes, it does not make them. */
export async function makeVolume(volumes: string, workspaceId: string): Promise<void> {
  await mkdir(join(volumes, workspaceId), { recursive: true, mode: 0o700 });
}

/** Columns of the library's table, as far as they are looked at here. */
interface Booting {
  readonly workspace_id: string;
  readonly status: string;
  readonly epoch: number | string;
  readonly generation: number | string;
  /** Of the newest word on its assets. */
  readonly ready_assets_version: number | string | null;
}
