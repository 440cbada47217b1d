import { decodeJwt, type JWTPayload } from 'jose';

import { asDatabaseFailure, type Database } from '../process/database.ts';
import { verifyProof } from './dpop.ts';
import { roles, type Authenticator, type Caller, type Credentials, type OperatorCaller, type ServiceCaller, type WorkspaceCaller } from './identity.ts';
import { refuseToken, tokenLengthMax, verifyToken, type Issuer } from './jwt.ts';
import { readClock, useProof } from './proof-records.ts';
import { parseWorkspaceClaims, workspaceTokenMaxMs } from './workspace-token.ts';

export interface AuthenticatorOptions {
  readonly database: Database;
  /** The audience that every token has to name. */
  readonly audience: string;
  /** Address under which callers reach the door, without a path: what proofs are bound to. */
  readonly origin: () => string;
  /** The control plane's issuer: for workspaces alone. */
  readonly workspaces: Issuer;
  /** Issuers of bearer tokens, each for its kind. Their names differ from each other and from that of workspaces. */
  readonly bearers: readonly { readonly kind: 'operator' | 'service'; readonly issuer: Issuer }[];
}

/** Longest life of the token of a person or a service, in milliseconds. */
export const bearerTokenMaxMs = 3_600_000;

const credentialForm = /^(?<scheme>DPoP|Bearer) (?<token>[\w-]+\.[\w-]+\.[\w-]+)$/iu;
const subjectForm = /^[\x21-\x7e]{1,200}$/u;

/**
 * Proves callers: a workspace by a token of the control plane and a proof of the key that it names, used once; people and
 * services by bearer tokens of their own issuers. Every age is judged by the database's clock (I21).
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  return {
    async authenticate(credentials) {
      const { scheme, token } = parseCredential(credentials.authorization);
      try {
        return scheme === 'dpop' ? await proveWorkspace(token, credentials, options) : await proveBearer(token, options);
      } catch (error) {
        throw asDatabaseFailure(error);
      }
    },
  };
}

function parseCredential(authorization: string | undefined): { scheme: string; token: string } {
  if (authorization === undefined) throw refuseToken('send Authorization');
  if (authorization.length > tokenLengthMax) throw refuseToken('the token is too long');
  const { scheme, token } = credentialForm.exec(authorization)?.groups ?? {};
  if (scheme === undefined || token === undefined) throw refuseToken('Authorization should be `DPoP <token>` or `Bearer <token>`');
  return { scheme: scheme.toLowerCase(), token };
}

async function proveWorkspace(token: string, { method, path, proof }: Credentials, { database, audience, origin, workspaces }: AuthenticatorOptions): Promise<WorkspaceCaller> {
  const now = await readClock(database);
  const caller = parseWorkspaceClaims(await verifyToken(token, workspaces, { audience, lifetimeMaxMs: workspaceTokenMaxMs, now }));
  const digest = await verifyProof(proof, { method, url: origin() + path, token, thumbprint: caller.signingThumbprint, now });
  const { isFirstUse, record } = await useProof(database, digest, caller);
  if (!isFirstUse) throw refuseToken('the DPoP proof was used before');
  // A workspace that has no record yet is one whose event is on its way; it finds nothing here.
  if (record !== undefined) {
    if (record.orgId !== caller.orgId || record.removed) throw refuseToken('the token is of a workspace that is not there');
    if (caller.epoch < record.epoch) throw refuseToken('the token is of an earlier boot: a new one gets a new token');
  }
  return caller;
}

async function proveBearer(token: string, { database, audience, bearers }: AuthenticatorOptions): Promise<Caller> {
  const claimed = issuerOf(token);
  const found = bearers.find(({ issuer }) => issuer.name === claimed);
  if (found === undefined) throw refuseToken('a bearer token is of an operator or a service, by their issuer; a workspace sends `DPoP <token>`');
  const now = await readClock(database);
  return parseBearer(found.kind, await verifyToken(token, found.issuer, { audience, lifetimeMaxMs: bearerTokenMaxMs, now }));
}

/** Which issuer a token says it is of: only to choose whose keys have to bear it out. */
function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch (error) {
    throw refuseToken('the token is not well formed', error);
  }
}

/** Roles that are not known count for nothing. */
function parseBearer(kind: 'operator' | 'service', { sub, roles: given }: JWTPayload): OperatorCaller | ServiceCaller {
  if (sub === undefined || !subjectForm.test(sub)) throw refuseToken('sub of the token should be 1 to 200 printable characters without blank');
  return { kind, subject: sub, roles: roles.filter((role) => Array.isArray(given) && given.includes(role)) };
}
