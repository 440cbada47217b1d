import Type from 'typebox';

import { readKeyLists } from '../../catalogue/publish/key-lists.ts';
import { Failure } from '../../process/failure.ts';
import { definePublicRoute } from '../route.ts';

/** The root of trust for agents: public keys, signed by keys that this process does not have. */
export const keysRoute = definePublicRoute({
  method: 'GET',
  path: '/v1/keys',
  summary: 'The signed lists of keys that may sign manifests and leases: the newest, or with `after` those after that version, oldest first',
  query: Type.Object({ after: Type.Optional(Type.String({ maxLength: 16 })) }, { additionalProperties: false }),
  answer: Type.Object({
    lists: Type.Array(Type.Object({ signed: Type.String(), signatures: Type.Array(Type.Object({ key_id: Type.String(), signature: Type.String() })) })),
  }),
  handle: async ({ query }, { database }) => {
    if (query.after !== undefined && !/^\d{1,15}$/u.test(query.after)) throw new Failure('input', 'FIELD_INVALID', 'after should be a version, a whole number');
    const lists = await readKeyLists(database, query.after === undefined ? undefined : Number(query.after));
    return { body: { lists: lists.map(({ signed, signatures }) => ({ signed, signatures: signatures.map(({ key_id, signature }) => ({ key_id, signature })) })) } };
  },
});
