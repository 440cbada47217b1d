import Type from 'typebox';

import { tx } from '../../process/database.ts';
import { changeTemplate } from '../../producers/control-plane.ts';
import { ifMatchOf, recordAnswer, recordChange, recordParams } from '../record-change.ts';
import { defineRoute } from '../route.ts';

/** Minted by the control plane's own function on its own database, as every change of a record is. */
export const changeTemplateRoute = defineRoute({
  method: 'PATCH',
  path: '/v1/workspaces/:workspaceId/template',
  summary: 'Assign a template to a workspace, or clear it with null; If-Match takes the record version',
  callers: { operator: 'operate', service: 'operate' },
  params: recordParams,
  body: Type.Object({ template: Type.Union([Type.String(), Type.Null()], { description: 'An item of the catalogue, or null' }) }, { additionalProperties: false }),
  answer: recordChange,
  codes: ['TEMPLATE_UNKNOWN', 'RUNTIME_MISMATCH', 'STALE_VERSION', 'NOT_FOUND', 'REMOVED'],
  handle: async ({ params, body, headers }, { controlPlane, catalogue }) => {
    const ifVersion = ifMatchOf({ headers });
    const input = { workspace_id: params.workspaceId, template: body.template };
    return recordAnswer(await tx(controlPlane, async (trx) => await changeTemplate(trx, catalogue, input, ifVersion === undefined ? {} : { ifVersion })));
  },
});
