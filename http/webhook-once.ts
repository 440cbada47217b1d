import { createHash } from 'node:crypto';

import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { WebhookMessage } from './webhook.ts';

/** What became of a message, for its first sending and for every repeat. */
export type WebhookOutcome = 'minted' | 'unchanged' | 'revoked' | 'superseded';

/**
 * Deals with a message once, in one transaction of billing's database: a repeat with a newer signature is answered as the
 * first was and does nothing, the same signature again is a replay, and the same id with other content is somebody's
 * mistake: both CONFLICT. What throws is not remembered, so that the provider may send it again.
 */
export async function dealOnce(
  billing: Database, message: WebhookMessage, content: { readonly path: string; readonly body: unknown }, work: (trx: Transaction) => Promise<WebhookOutcome>,
): Promise<WebhookOutcome> {
  const digest = createHash('sha256').update(`${content.path}\n${JSON.stringify(content.body)}`).digest();
  return await tx(billing, async (trx) => {
    const inserted = await trx.raw<{ rowCount: number }>(
      `insert into waybill_webhooks (message_id, content_sha256, signed_at, outcome) values (?, ?, ?, 'begun') on conflict do nothing`,
      [message.id, digest, new Date(message.signedAt)],
    );
    if (inserted.rowCount === 0) return await repeat(trx, message, digest);
    const outcome = await work(trx);
    await trx.raw('update waybill_webhooks set outcome = ? where message_id = ?', [outcome, message.id]);
    return outcome;
  });
}

async function repeat(trx: Transaction, { id, signedAt }: WebhookMessage, digest: Buffer): Promise<WebhookOutcome> {
  const { rows: [known] } = await trx.raw<{ rows: [{ content: Buffer; signedAt: Date; outcome: WebhookOutcome }] }>(
    'select content_sha256 as content, signed_at as "signedAt", outcome from waybill_webhooks where message_id = ? for update', [id],
  );
  if (!known.content.equals(digest)) throw new Failure('input', 'CONFLICT', 'webhook-id was used for another message: give each its own');
  if (signedAt <= known.signedAt.getTime()) throw new Failure('input', 'CONFLICT', 'This sending of the message was taken before: sign a repeat anew');
  await trx.raw('update waybill_webhooks set signed_at = ? where message_id = ?', [new Date(signedAt), id]);
  return known.outcome;
}
