import { codes, type Code } from '../schemas/codes.ts';

/**
 * The closed set of ways to fail. What is done about each stands in one switch (consumers/settle.ts).
 * - dependency: Kafka, PostgreSQL, store, KMS or registry is unwell; pause and retry, nothing is dead-lettered.
 * - subject: only this release or workspace; its row is due again later.
 * - poison: these bytes can never work; dead letter.
 * - input: the caller asked for something that is refused; told to the caller, never retried.
 * - fault: our bug; the process stops.
 */
export type FailureKind = 'dependency' | 'subject' | 'poison' | 'input' | 'fault';

/** An error with a stable code. `message` says what was wrong with which value; `cure` what to do about it. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly kind: FailureKind;
  readonly code: Code;
  readonly #cure: string | undefined;

  /** `cure`: the way out where the one of the code does not fit this message. */
  constructor(kind: FailureKind, code: Code, message: string, options?: { cause?: unknown; cure?: string | undefined }) {
    super(message, options);
    this.kind = kind;
    this.code = code;
    this.#cure = options?.cure;
  }

  get cure(): string {
    return this.#cure ?? codes[this.code].cure;
  }
}

/** Any thrown value as a Failure: what is not one already is our bug. */
export function asFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new Failure('fault', 'FAULT', message, { cause: thrown });
}
