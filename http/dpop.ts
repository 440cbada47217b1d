import { createHash } from 'node:crypto';

import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';

import { algorithms, refuseToken, toleranceMs } from './jwt.ts';

/** Longest proof that is looked at, in characters. */
export const proofLengthMax = 4_096;
/** How old a proof may be when it arrives, in milliseconds, by the database's clock. */
export const proofAgeMaxMs = 60_000;

const jtiForm = /^[\x21-\x7e]{8,128}$/u;

export interface ProofContext {
  readonly method: string;
  /** The URL that was asked, without query and fragment, as callers see it. */
  readonly url: string;
  readonly token: string;
  /** RFC 7638 thumbprint that the token names. */
  readonly thumbprint: string;
  /** Milliseconds since the epoch, by the database's clock. */
  readonly now: number;
}

/**
 * Verifies a proof of possession (RFC 9449, 4.3): one signature by the key that the token names, over this method, this URL,
 * this token, and not long ago. Returns the digest under which its one use is recorded. Throws UNAUTHENTICATED.
 */
export async function verifyProof(proof: string | undefined, { method, url, token, thumbprint, now }: ProofContext): Promise<Buffer> {
  if (proof === undefined) throw refuseToken('a workspace signs its requests: send a DPoP proof');
  if (proof.length > proofLengthMax) throw refuseToken('the DPoP proof is too long');
  const { payload, protectedHeader } = await verify(proof, now);
  if (protectedHeader.jwk === undefined || await calculateJwkThumbprint(protectedHeader.jwk) !== thumbprint) {
    throw refuseToken('the DPoP proof is not by the key that the token names');
  }
  const { htm, htu, ath, jti, iat } = payload;
  if (htm !== method) throw refuseToken('the DPoP proof is for another method');
  if (typeof htu !== 'string' || bare(htu) !== bare(url)) throw refuseToken('the DPoP proof is for another URL');
  if (ath !== createHash('sha256').update(token).digest('base64url')) throw refuseToken('the DPoP proof is for another token');
  if (typeof jti !== 'string' || !jtiForm.test(jti)) throw refuseToken('the jti of the DPoP proof should be 8 to 128 printable characters without blank');
  if (typeof iat !== 'number' || iat * 1000 < now - proofAgeMaxMs || iat * 1000 > now + toleranceMs) throw refuseToken('the DPoP proof was not made just now');
  return createHash('sha256').update(`${thumbprint}\n${jti}`).digest();
}

async function verify(proof: string, now: number): ReturnType<typeof jwtVerify> {
  try {
    // The key is in the header: it proves nothing until its thumbprint was compared.
    return await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms, currentDate: new Date(now), clockTolerance: toleranceMs / 1000 });
  } catch (error) {
    throw refuseToken('the DPoP proof is not well formed or its signature does not hold', error);
  }
}

/** A URL as two parties write it in the same way: without query and fragment, default port and capital letters of the host. */
function bare(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { origin, pathname } = new URL(text);
  return origin + pathname;
}
