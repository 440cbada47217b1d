import Type from 'typebox';

import { findItem } from '../../catalogue/lookup.ts';
import { Failure } from '../../process/failure.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseItemId } from '../../schemas/ids.ts';
import { defineRoute } from '../route.ts';

/** The allowlist as producers ask it before they name an item (B1); producers/check-items.ts says what they need of it. */
export const catalogueItemRoute = defineRoute({
  method: 'GET',
  path: '/v1/catalogue/:item',
  summary: 'Look an item of the catalogue up',
  callers: { workspace: 'any', operator: 'read', service: 'read' },
  params: Type.Object({ item: Type.String() }),
  answer: Type.Object({
    item_id: Type.String(), kind: Type.Enum(['template', 'plugin']), runtimes: Type.Array(Type.String()),
    seller_id: Type.String(), access: Type.String(), catalogue_version: Type.Integer(),
  }),
  codes: ['NOT_FOUND'],
  handle: async ({ params }, { database }) => {
    const item = await findItem(database, checkInput(() => parseItemId(params.item, 'item')));
    if (item === undefined) throw new Failure('input', 'NOT_FOUND', 'There is no such item in the catalogue');
    return {
      body: {
        item_id: item.itemId, kind: item.kind, runtimes: [...item.runtimes], seller_id: item.sellerId, access: item.access,
        catalogue_version: item.catalogueVersion,
      },
    };
  },
});
