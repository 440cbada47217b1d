import Type from 'typebox';

import { listDeadLetters } from '../../process/list-dead-letters.ts';
import { idText, pageFrom, pageOf, pageQuery, parsePage } from '../page.ts';
import { defineRoute } from '../route.ts';

const text = (description: string) => Type.Optional(Type.String({ maxLength: 100, description }));

/** Without the bytes: they may be another tenant's, and nobody knows what they are. `waybill dead-letters show` has them. */
export const deadLettersRoute = defineRoute({
  method: 'GET',
  path: '/v1/dead-letters',
  summary: 'Records that could not be read, newest first',
  callers: { operator: 'read' },
  query: Type.Object({
    ...pageQuery,
    status: Type.Optional(Type.Enum(['open', 'closed', 'redriven', 'discarded'])),
    code: text('Refused with this code'), consumer: text('Refused by this consumer'),
  }, { additionalProperties: false }),
  answer: pageOf(Type.Object({
    id: Type.Integer(), consumer: Type.String(), topic: Type.String(), partition: Type.Integer(), offset: Type.Integer(), code: Type.String(),
    reason: Type.String(), status: Type.String(), created_at: Type.String({ description: 'RFC 3339' }),
  })),
  handle: async ({ query }, { database }) => {
    const { limit, after } = parsePage(query, [idText]);
    const { status, code, consumer } = query;
    const found = await listDeadLetters(database, { status, code, consumer, before: after === undefined ? undefined : Number(after[0]), limit: limit + 1 });
    const rows = found.map(({ createdAt, ...row }) => ({ ...row, created_at: createdAt.toISOString() }));
    return { body: pageFrom(rows, limit, ({ id }) => [String(id)]) };
  },
});
