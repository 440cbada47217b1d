import { timingSafeEqual } from 'node:crypto';

import { Webhook } from 'standardwebhooks';

import { asDatabaseFailure, type Database } from '../process/database.ts';
import { refuseToken } from './jwt.ts';
import { readClock } from './proof-records.ts';

/** What the headers of a Standard Webhook say, once its signature was verified. */
export interface WebhookMessage {
  /** The provider's id of the message: the same in every repeat. */
  readonly id: string;
  /** When this sending of it was signed, milliseconds since the epoch. */
  readonly signedAt: number;
}

/** Verifies the signatures of billing's provider. */
export interface WebhookVerifier {
  /** Throws Failure input UNAUTHENTICATED for a missing, wrong or old signature. `body`: the text as it came. */
  verify(headers: Readonly<Record<string, string | string[] | undefined>>, body: string): Promise<WebhookMessage>;
}

/** How far a signature may be from now, either way, in milliseconds: what Standard Webhooks asks for. */
export const webhookAgeMaxMs = 300_000;

/** Printable, and without the dot that parts the fields of what is signed. */
const idForm = /^[\x21-\x2d\x2f-\x7e]{1,200}$/u;
const timestampForm = /^\d{1,12}$/u;
const signaturesMax = 16;

/**
 * By the secrets of the provider, of which any counts: the old and the new one while it changes them. The signature is the
 * library's; the age is judged here, because the library goes by the clock of the process (I21).
 */
export function createWebhookVerifier(database: Database, secrets: readonly string[]): WebhookVerifier {
  const signers = secrets.map((secret) => new Webhook(secret));
  return {
    async verify(headers, body) {
      const [id, timestamp, signatures] = [headers['webhook-id'], headers['webhook-timestamp'], headers['webhook-signature']];
      if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string') {
        throw refuseToken('send webhook-id, webhook-timestamp and webhook-signature');
      }
      if (!idForm.test(id) || !timestampForm.test(timestamp)) throw refuseToken('webhook-id or webhook-timestamp is not well formed');
      const signedAt = Number(timestamp) * 1000;
      const expected = signers.map((signer) => signer.sign(id, new Date(signedAt), body));
      const given = signatures.split(' ').slice(0, signaturesMax);
      if (!given.some((signature) => expected.some((one) => isSame(signature, one)))) throw refuseToken('the signature of the webhook does not hold');
      const now = await readClock(database).catch((error: unknown) => { throw asDatabaseFailure(error); });
      if (Math.abs(now - signedAt) > webhookAgeMaxMs) throw refuseToken('the webhook was not signed just now');
      return { id, signedAt };
    },
  };
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}
