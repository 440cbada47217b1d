import Type from 'typebox';

import { listEntitlements } from '../../entitlements/list-entitlements.ts';
import { everyTenant, tenantTx } from '../../process/database.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseItemId, parseOrgId } from '../../schemas/ids.ts';
import { nullable, pageFrom, pageOf, pageQuery, parsePage, slugText, uuidText } from '../page.ts';
import { defineRoute } from '../route.ts';

export const entitlementsRoute = defineRoute({
  method: 'GET',
  path: '/v1/entitlements',
  summary: 'Which org is entitled to what, as of the last fold or passing of time; a decision reads the lines',
  callers: { operator: 'read' },
  query: Type.Object({
    ...pageQuery,
    org: Type.Optional(Type.String({ description: 'Of this org alone' })),
    item: Type.Optional(Type.String({ description: 'To this item alone' })),
    entitled: Type.Optional(Type.Enum(['true', 'false'])),
  }, { additionalProperties: false }),
  answer: pageOf(Type.Object({
    org_id: Type.String(), item_id: Type.String(), entitled: Type.Boolean(), policy: nullable(Type.String()),
    valid_until: nullable(Type.String({ description: 'RFC 3339' })), reason: nullable(Type.String()), entitlement_revision: nullable(Type.Integer()),
  })),
  handle: async ({ query }, { database }) => {
    const { limit, after } = parsePage(query, [uuidText, slugText]);
    const filter = checkInput(() => ({
      org: query.org === undefined ? undefined : parseOrgId(query.org, 'org'), item: query.item === undefined ? undefined : parseItemId(query.item, 'item'),
    }));
    const entitled = query.entitled === undefined ? undefined : query.entitled === 'true';
    const found = await tenantTx(database, filter.org ?? everyTenant, async (trx) => await listEntitlements(trx, { ...filter, entitled, after, limit: limit + 1 }));
    const rows = found.map(({ orgId, itemId, validUntil, revision, ...row }) =>
      ({ ...row, org_id: orgId, item_id: itemId, valid_until: validUntil?.toISOString() ?? null, entitlement_revision: revision }));
    return { body: pageFrom(rows, limit, ({ org_id, item_id }) => [org_id, item_id]) };
  },
});
