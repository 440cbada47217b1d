/** What the headers of a Standard Webhook say, once its signature was verified. */
export interface WebhookMessage {
  /** The provider's id of the message: the same in every repeat. */
  readonly id: string;
}

/** Verifies the signatures of billing's provider. */
export interface WebhookVerifier {
  /** Throws Failure input UNAUTHENTICATED for a missing, wrong or old signature. `body`: the bytes as they came. */
  verify(headers: Readonly<Record<string, string | string[] | undefined>>, body: string): Promise<WebhookMessage>;
}
