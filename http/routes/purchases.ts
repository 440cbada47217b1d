import Type from 'typebox';

import { Failure } from '../../process/failure.ts';
import { purchase, type LineResult } from '../../producers/billing.ts';
import { accepted, keyFields, keyOf, termsFields, termsOf, versionField } from '../line-fields.ts';
import { defineSignedRoute } from '../route.ts';
import { dealOnce, type WebhookOutcome } from '../webhook-once.ts';

const path = '/v1/events/purchases';

/** Billing's function mints the version and appends the event in billing's own transaction; the outbox publishes it. */
export const purchasesRoute = defineSignedRoute({
  method: 'POST',
  path,
  summary: 'A purchase, renewal or change of terms, as a Standard Webhook of billing',
  body: Type.Object({ ...keyFields, ...termsFields, ...versionField }, { additionalProperties: false }),
  answer: accepted,
  successes: ['accepted'],
  codes: ['UNAUTHENTICATED', 'CONFLICT'],
  handle: async ({ body, message }, { billing }) => {
    const { entitlement_version: entitlementVersion } = body;
    const input = { ...keyOf(body), ...termsOf(body) };
    const outcome = await dealOnce(billing, message, { path, body }, async (trx) =>
      await outcomeOf(async () => await purchase(trx, input, entitlementVersion === undefined ? {} : { entitlementVersion })));
    return { outcome: 'accepted', body: { outcome } };
  },
});

/** What is nobody's fault is an outcome: a late purchase after its refund, an older version after a newer one (A6). */
export async function outcomeOf(mint: () => Promise<LineResult>): Promise<WebhookOutcome> {
  try {
    const result = await mint();
    return result.outcome === 'refused' ? 'revoked' : result.outcome;
  } catch (error) {
    if (error instanceof Failure && error.code === 'STALE_VERSION') return 'superseded';
    throw error;
  }
}
