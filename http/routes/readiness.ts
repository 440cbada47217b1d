import Type from 'typebox';

import { reasonOf } from '../../explain/reason.ts';
import { loadWorkspaceFacts, type AnnouncementFacts, type SetFacts } from '../../explain/workspace-facts.ts';
import { everyTenant, tenantSnapshot } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseWorkspaceId } from '../../schemas/ids.ts';
import { tenantOf } from '../identity.ts';
import { nullable } from '../page.ts';
import { recordParams } from '../record-change.ts';
import { defineRoute } from '../route.ts';

const set = nullable(Type.Object({ set_digest: Type.String(), items: Type.Array(Type.Object({ item_id: Type.String(), version: Type.String() })) }));

/** The same facts and words as `waybill explain`, for who has to show them (C9). */
export const readinessRoute = defineRoute({
  method: 'GET',
  path: '/v1/workspaces/:workspaceId/readiness',
  summary: 'What a workspace should hold and holds, where it stands and since when, why, and the way out',
  callers: { workspace: 'own', operator: 'read', service: 'read' },
  params: recordParams,
  answer: Type.Object({
    workspace_id: Type.String(), status: Type.String(), epoch: Type.Integer(), generation: Type.Integer(), record_version: Type.Integer(),
    state: Type.Enum(['ready', 'waiting', 'working', 'refused', 'restart', 'idle', 'unknown']),
    code: nullable(Type.String()), reason: Type.String({ description: 'In words' }), way_out: nullable(Type.String({ description: 'null: nothing has to be done' })),
    wanted: set, present: set, withheld: Type.Array(Type.Object({ item_id: Type.String(), code: Type.String() })),
    assets_version: nullable(Type.Integer()),
    last_said: nullable(Type.Object({ type: Type.String(), at: Type.String({ description: 'RFC 3339' }), age_ms: Type.Integer() })),
  }),
  codes: ['NOT_FOUND'],
  handle: async ({ params, caller }, { database }) => {
    const id = checkInput(() => parseWorkspaceId(params.workspaceId));
    const facts = await tenantSnapshot(database, tenantOf(caller) ?? everyTenant, async (trx) => await loadWorkspaceFacts(trx, id));
    const { record, delivery, wanted, announcements, at } = facts;
    if (record === undefined) throw new Failure('input', 'NOT_FOUND', 'There is nothing here');
    const { state, code, text, cure } = reasonOf(facts);
    return {
      body: {
        workspace_id: id, status: record.status, epoch: record.epoch, generation: record.generation, record_version: record.recordVersion,
        state, code, reason: text, way_out: cure, wanted: setOf(wanted), present: setOf(delivery?.present),
        withheld: (wanted?.withheld ?? []).map(({ itemId, code: why }) => ({ item_id: itemId, code: why })),
        assets_version: delivery?.assetsVersion ?? null, last_said: lastSaid(announcements, at),
      },
    };
  },
});

/** null: unknown, or never looked for. */
function setOf(of: SetFacts | null | undefined): { set_digest: string; items: { item_id: string; version: string }[] } | null {
  if (of === null || of === undefined) return null;
  return { set_digest: of.setDigest, items: of.items.map(({ itemId, version }) => ({ item_id: itemId, version })) };
}

function lastSaid([newest]: readonly AnnouncementFacts[], now: number): { type: string; at: string; age_ms: number } | null {
  return newest === undefined ? null : { type: newest.type, at: newest.at.toISOString(), age_ms: Math.max(0, Math.round(now - newest.at.getTime())) };
}
