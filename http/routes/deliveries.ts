import Type from 'typebox';

import { deliveryStates, listDeliveries } from '../../delivery/list-deliveries.ts';
import { everyTenant, tenantTx } from '../../process/database.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseOrgId } from '../../schemas/ids.ts';
import { nullable, pageFrom, pageOf, pageQuery, parsePage, uuidText } from '../page.ts';
import { defineRoute } from '../route.ts';

export const deliveriesRoute = defineRoute({
  method: 'GET',
  path: '/v1/deliveries',
  summary: 'Where the deliveries stand, in the order of the workspaces',
  callers: { operator: 'read' },
  query: Type.Object({
    ...pageQuery,
    org: Type.Optional(Type.String({ description: 'Of this org alone' })),
    state: Type.Optional(Type.Enum([...deliveryStates])),
  }, { additionalProperties: false }),
  answer: pageOf(Type.Object({
    workspace_id: Type.String(), org_id: Type.String(), state: Type.String(), code: nullable(Type.String()), status: nullable(Type.String()), epoch: nullable(Type.Integer()),
    template: nullable(Type.String()), tries: Type.Integer(), assets_version: Type.Integer(),
  })),
  handle: async ({ query }, { database }) => {
    const { limit, after } = parsePage(query, [uuidText]);
    const org = query.org === undefined ? undefined : checkInput(() => parseOrgId(query.org, 'org'));
    const found = await tenantTx(database, org ?? everyTenant, async (trx) => await listDeliveries(trx, { state: query.state, org, after: after?.[0], limit: limit + 1 }));
    const rows = found.map(({ workspace, org: orgId, assetsVersion, ...row }) => ({ ...row, workspace_id: workspace, org_id: orgId, assets_version: assetsVersion }));
    return { body: pageFrom(rows, limit, ({ workspace_id }) => [workspace_id]) };
  },
});
