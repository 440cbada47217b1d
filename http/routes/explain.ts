import Type from 'typebox';

import { explain, type Explanation } from '../../explain/explain.ts';
import { everyTenant, tenantSnapshot } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { checkInput } from '../../producers/check-input.ts';
import { tenantOf } from '../identity.ts';
import { nullable } from '../page.ts';
import { defineRoute } from '../route.ts';

/** Decisions that are told at most. */
const decisionsMax = 100;

const reason = { state: Type.String(), code: nullable(Type.String()), rules: Type.Array(Type.String()), text: Type.String() };

export const explainRoute = defineRoute({
  method: 'GET',
  path: '/v1/explain/:subject',
  summary: 'Why a workspace is ready or not, or what became of an entitlement or event, with the decisions and their rules',
  callers: { operator: 'read' },
  params: Type.Object({ subject: Type.String({ description: 'A full workspace id, org/item or org/item/purchase with its slashes encoded (%2F), or a full event id' }) }),
  query: Type.Object({ at: Type.Optional(Type.String({ description: 'A past time, RFC 3339: the answer is as of then, and says what is not kept' })) }, { additionalProperties: false }),
  answer: Type.Object({
    kind: Type.Enum(['workspace', 'entitlement', 'event']),
    reason: Type.Object({ ...reason, change: nullable(Type.String({ description: 'What would change it; null: nothing has to' })) }),
    withheld: Type.Array(Type.Object({ item_id: Type.String(), code: Type.String(), rules: Type.Array(Type.String()), text: Type.String(), change: Type.String() })),
    decisions: Type.Array(Type.Object({
      at: Type.String({ description: 'RFC 3339' }), subject: Type.String(), text: Type.String(), rules: Type.Array(Type.String()), outcome: Type.String(), code: nullable(Type.String()),
      caused_by: nullable(Type.String({ description: 'Id of the event' })), attempt: nullable(Type.Integer()), reason: nullable(Type.String()), change: nullable(Type.String()),
    }), { description: 'The newest 100, oldest first' }),
    facts: Type.Unknown({ description: 'What the answer was read from; for people, and without a promise about its form' }),
  }),
  codes: ['NOT_FOUND'],
  handle: async ({ params, query, caller }, { database, controlPlane, billing }) => {
    const at = query.at === undefined ? undefined : parseMoment(query.at);
    const told = await tenantSnapshot(database, tenantOf(caller) ?? everyTenant, async (trx) => await explainChecked(async () => await explain(trx, params.subject, {
      at, decisionsMax, producers: [{ owner: 'control-plane', database: controlPlane }, { owner: 'billing', database: billing }],
    })));
    return { body: answerOf(told) };
  },
});

function answerOf(told: Explanation) {
  const { kind, reason: { state, code, rules, text, cure }, decisions, ...facts } = told;
  const withheld = told.kind === 'workspace' ? told.withheld : [];
  return {
    kind, reason: { state, code, rules: [...rules], text, change: cure }, facts,
    withheld: withheld.map(({ itemId, rules: by, ...one }) => ({ item_id: itemId, ...one, rules: [...by] })),
    decisions: decisions.map(({ at, subject, text: words, rules: by, outcome, code: of, causedBy, attempt, reason: why, change }) =>
      ({ at: at.toISOString(), subject, text: words, rules: [...by], outcome, code: of, caused_by: causedBy, attempt, reason: why, change })),
  };
}

/** What is no id is the caller's to mend, wherever in the reading it is found out. */
async function explainChecked(work: () => Promise<Explanation>): Promise<Explanation> {
  try {
    return await work();
  } catch (error) {
    return checkInput<Explanation>(() => { throw error; });
  }
}

function parseMoment(text: string): Date {
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) throw new Failure('input', 'FIELD_INVALID', `at should be a past time such as 2027-01-31T09:30:00Z, but is ${JSON.stringify(text.slice(0, 80))}`);
  return new Date(moment);
}
