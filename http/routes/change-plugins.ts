import Type from 'typebox';

import { tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { checkInput } from '../../producers/check-input.ts';
import { changePlugins, type RecordResult } from '../../producers/control-plane.ts';
import { loadRecord } from '../../producers/record-rows.ts';
import { parseItemId, parseWorkspaceId, type ItemId, type WorkspaceId } from '../../schemas/ids.ts';
import type { HttpDeps } from '../deps.ts';
import { ifMatchOf, recordAnswer, recordChange, recordParams } from '../record-change.ts';
import { defineRoute, type Call } from '../route.ts';

const params = Type.Object({ ...recordParams.properties, item: Type.String({ description: 'A plugin of the catalogue' }) });
const shape = { path: '/v1/workspaces/:workspaceId/plugins/:item', callers: { operator: 'operate', service: 'operate' }, params, answer: recordChange } as const;

export const installPluginRoute = defineRoute({
  ...shape,
  method: 'PUT',
  summary: 'Install a plugin in a workspace',
  codes: ['TEMPLATE_UNKNOWN', 'RUNTIME_MISMATCH', 'STALE_VERSION', 'NOT_FOUND', 'REMOVED'],
  handle: async (call, deps) => recordAnswer(await changeList(call, deps, (plugins, item) => [...plugins, item])),
});

export const uninstallPluginRoute = defineRoute({
  ...shape,
  method: 'DELETE',
  summary: 'Uninstall a plugin from a workspace',
  codes: ['STALE_VERSION', 'NOT_FOUND', 'REMOVED'],
  handle: async (call, deps) => recordAnswer(await changeList(call, deps, (plugins, item) => plugins.filter((one) => one !== item))),
});

/** How often the list is read again when somebody changed the record between reading and minting. */
const triesMax = 5;

/**
 * One plugin more or less of the list as it is. The list is read before the row is locked, because the catalogue is asked in
 * between, and the change is minted for the version that was read: nobody's change in between is lost.
 */
async function changeList(
  { params: asked, headers }: Pick<Call<{ workspaceId: string; item: string }>, 'params' | 'headers'>, { controlPlane, catalogue }: HttpDeps,
  change: (plugins: readonly ItemId[], item: ItemId) => readonly ItemId[],
): Promise<RecordResult> {
  const { id, item } = checkInput(() => ({ id: parseWorkspaceId(asked.workspaceId), item: parseItemId(asked.item, 'item') }));
  const wanted = ifMatchOf({ headers });
  for (let tries = 1; ; tries += 1) {
    const { plugins, version } = await readList(controlPlane, id);
    try {
      return await tx(controlPlane, async (trx) => await changePlugins(
        trx, catalogue, { workspace_id: id, plugins: change(plugins, item) }, { ifVersion: wanted ?? version },
      ));
    } catch (error) {
      const isOvertaken = wanted === undefined && error instanceof Failure && error.code === 'STALE_VERSION';
      if (!isOvertaken || tries === triesMax) throw error;
    }
  }
}

async function readList(controlPlane: Database, id: WorkspaceId): Promise<{ plugins: readonly ItemId[]; version: number }> {
  const { current } = await tx(controlPlane, async (trx) => await loadRecord(trx, id, 'peek'));
  if (current === undefined) throw new Failure('input', 'NOT_FOUND', `workspace ${id}: never provisioned`);
  return { plugins: current.plugins, version: current.record_version };
}
