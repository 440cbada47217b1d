import type { JWTPayload } from 'jose';

import type { WorkspaceCaller } from './identity.ts';
import { parseCount, parseOrgId, parseWorkspaceId, FieldError } from '../schemas/ids.ts';
import { refuseToken } from './jwt.ts';

/** Longest life of a workspace's token, in milliseconds. */
export const workspaceTokenMaxMs = 900_000;

/** RFC 7638: SHA-256 in base64url. */
const thumbprint = /^[A-Za-z0-9_-]{43}$/u;

/** What a verified token says of a workspace. Throws UNAUTHENTICATED when it does not say all of it. */
export function parseWorkspaceClaims({ sub, org, epoch, cnf, enc_jkt }: JWTPayload): WorkspaceCaller {
  const jkt: unknown = typeof cnf === 'object' && cnf !== null && 'jkt' in cnf ? cnf.jkt : undefined;
  if (typeof jkt !== 'string' || !thumbprint.test(jkt)) throw refuseToken('the token should name a signing key in cnf.jkt');
  if (typeof enc_jkt !== 'string' || !thumbprint.test(enc_jkt)) throw refuseToken('the token should name an encryption key in enc_jkt');
  try {
    return {
      kind: 'workspace', workspaceId: parseWorkspaceId(sub, 'sub'), orgId: parseOrgId(org, 'org'), epoch: parseCount(epoch, 'epoch'),
      signingThumbprint: jkt, encryptionKeyThumbprint: enc_jkt,
    };
  } catch (error) {
    if (error instanceof FieldError) throw refuseToken(`${error.field} of the token is not as it should be`, error);
    throw error;
  }
}
