import { errors, jwtVerify, type JWTPayload } from 'jose';

import { Failure } from '../process/failure.ts';
import type { IssuerKeys } from './issuer-keys.ts';

/** Signatures that count. No RSA, no shared secret, and never `none`. */
export const algorithms: string[] = ['EdDSA', 'Ed25519', 'ES256'];

/** How far the clock of an issuer or a workspace may be ahead of the database's, in milliseconds. */
export const toleranceMs = 5_000;

/** Longest token that is looked at, in characters. */
export const tokenLengthMax = 8_192;

/** Whom tokens come from. */
export interface Issuer {
  /** The `iss` of its tokens. */
  readonly name: string;
  readonly keys: IssuerKeys;
}

/** Nothing proved who calls. The words never show what was sent. */
export const refuseToken = (message: string, cause?: unknown): Failure =>
  new Failure('input', 'UNAUTHENTICATED', `The request does not prove who sent it: ${message}`, cause === undefined ? {} : { cause });

export interface TokenRules {
  readonly audience: string;
  /** From `iat` to `exp`, in milliseconds. */
  readonly lifetimeMaxMs: number;
  /** Milliseconds since the epoch, by the database's clock (I21). */
  readonly now: number;
}

/** Verifies a token of this issuer: signature, issuer, audience and times. Throws UNAUTHENTICATED, or dependency without keys. */
export async function verifyToken(token: string, { name, keys }: Issuer, { audience, lifetimeMaxMs, now }: TokenRules): Promise<JWTPayload> {
  const payload = await verifySigned(token, { name, keys }, audience, now);
  const { iat, exp } = payload;
  if (typeof iat !== 'number' || typeof exp !== 'number') throw refuseToken('the token should say iat and exp');
  if (iat * 1000 > now + toleranceMs) throw refuseToken('the token is from the future');
  if (exp * 1000 <= now) throw refuseToken('the token has expired');
  if (exp <= iat || (exp - iat) * 1000 > lifetimeMaxMs) throw refuseToken(`a token should live at most ${lifetimeMaxMs / 60_000} minutes`);
  return payload;
}

async function verifySigned(token: string, { name, keys }: Issuer, audience: string, now: number): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, keys.find, {
      algorithms, issuer: name, audience, currentDate: new Date(now), clockTolerance: toleranceMs / 1000, requiredClaims: ['sub', 'iat', 'exp'],
    });
    return payload;
  } catch (error) {
    if (error instanceof Failure) throw error;
    const why = error instanceof errors.JWTExpired ? 'the token has expired' : 'the token is not one of the configured issuer for this audience';
    throw refuseToken(why, error);
  }
}
