import Type, { type Static } from 'typebox';

import { Failure } from '../process/failure.ts';
import type { LineInput, TermsInput } from '../producers/billing.ts';

/** The fields of billing's messages, in the words of the events. Moments are RFC 3339. */
export const keyFields = {
  org_id: Type.String(),
  item_id: Type.String(),
  purchase_id: Type.String({ description: 'The provider\'s id of the purchase; a re-buy has another' }),
};

const moment = (description: string) => Type.String({ maxLength: 40, description: `RFC 3339. ${description}` });

export const termsFields = {
  source: Type.Enum(['purchase', 'subscription', 'grant', 'internal']),
  policy: Type.String({ description: 'A channel, or an exact version x.y.z' }),
  valid_from: moment('Begin of validity'),
  valid_until: Type.Union([moment('End of validity'), Type.Null()], { description: 'null: no end' }),
};

export const versionField = {
  entitlement_version: Type.Optional(Type.Integer({ description: 'Of a provider that has versions of its own; otherwise the next one is minted on arrival' })),
};

export const accepted = Type.Object({
  outcome: Type.Enum(['minted', 'unchanged', 'revoked', 'superseded'], {
    description: 'minted: an event leaves through the outbox. unchanged: the line says so already. revoked: the purchase was revoked and stays so. superseded: a newer version is known',
  }),
});

const terms = Type.Object(termsFields);
const key = Type.Object(keyFields);

export const keyOf = ({ org_id, item_id, purchase_id }: Static<typeof key>): LineInput => ({ org_id, item_id, purchase_id });

export const termsOf = ({ source, policy, valid_from, valid_until }: Static<typeof terms>): TermsInput => ({
  source, policy, valid_from: parseMoment(valid_from, 'valid_from'), valid_until: valid_until === null ? null : parseMoment(valid_until, 'valid_until'),
});

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/u;

/** Milliseconds since the epoch. FIELD_INVALID. */
export function parseMoment(text: string, field: string): number {
  const at = rfc3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new Failure('input', 'FIELD_INVALID', `${field} should be a time such as 2027-01-31T00:00:00Z`);
  return at;
}
