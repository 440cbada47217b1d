import Type from 'typebox';

import { revoke } from '../../producers/billing.ts';
import { accepted, keyFields, keyOf, parseMoment, termsFields, termsOf, versionField } from '../line-fields.ts';
import { defineSignedRoute } from '../route.ts';
import { dealOnce } from '../webhook-once.ts';
import { outcomeOf } from './purchases.ts';

const path = '/v1/events/revocations';

/** The end of a purchase, for ever. It may come before the purchase, if it brings the terms. */
export const revocationsRoute = defineSignedRoute({
  method: 'POST',
  path,
  summary: 'The end of a purchase, as a Standard Webhook of billing',
  body: Type.Object({
    ...keyFields, ...versionField,
    reason: Type.Enum(['refund', 'non_payment', 'fraud', 'malware', 'operator']),
    ended_at: Type.Optional(Type.String({ maxLength: 40, description: 'RFC 3339; now, when left out' })),
    terms: Type.Optional(Type.Object(termsFields, { additionalProperties: false, description: 'Needed only for a purchase that has not been seen' })),
  }, { additionalProperties: false }),
  answer: accepted,
  successes: ['accepted'],
  codes: ['UNAUTHENTICATED', 'CONFLICT', 'NOT_FOUND'],
  handle: async ({ body, message }, { billing }) => {
    const { reason, ended_at, terms, entitlement_version: entitlementVersion } = body;
    const input = {
      ...keyOf(body), reason, ...(ended_at !== undefined && { ended_at: parseMoment(ended_at, 'ended_at') }), ...(terms !== undefined && { terms: termsOf(terms) }),
    };
    const outcome = await dealOnce(billing, message, { path, body }, async (trx) =>
      await outcomeOf(async () => await revoke(trx, input, entitlementVersion === undefined ? {} : { entitlementVersion })));
    return { outcome: 'accepted', body: { outcome } };
  },
});
