import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { importJWK, SignJWT, type JWK } from 'jose';

import type { Role } from '../../http/identity.ts';
import type { Environment } from '../../process/config.ts';
import { Failure } from '../../process/failure.ts';

/**
 * FOR DEVELOPMENT ONLY: whoever can read the state folder of `waybill dev` can make tokens of every caller. It stands in for
 * the control plane's issuer and for those of people and services, and its names say so wherever they are seen.
 */
const kinds = ['workspace', 'operator', 'service'] as const;
type Kind = (typeof kinds)[number];

const issuerOf = (kind: Kind): string => `urn:waybill:development-only:${kind}s`;
const keyIdOf = (kind: Kind): string => `development-only-${kind}`;
const folderOf = (stateDir: string): string => join(stateDir, 'development-only-issuer');
const privateFile = (stateDir: string, kind: Kind): string => join(folderOf(stateDir), `${kind}.private.json`);
const publicFile = (stateDir: string, kind: Kind): string => join(folderOf(stateDir), `${kind}.jwks.json`);
const secretFile = (stateDir: string): string => join(folderOf(stateDir), 'webhook-secret');

/** Makes the keys and the secret of this state folder where they are not there. */
export function prepareDevIssuer(stateDir: string): void {
  mkdirSync(folderOf(stateDir), { recursive: true, mode: 0o700 });
  for (const kind of kinds) {
    if (read(privateFile(stateDir, kind)) !== undefined) continue;
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const about = { kid: keyIdOf(kind), alg: 'EdDSA', use: 'sig' };
    writeFileSync(publicFile(stateDir, kind), JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), ...about }] }));
    writeFileSync(privateFile(stateDir, kind), JSON.stringify(privateKey.export({ format: 'jwk' })), { mode: 0o600 });
  }
  if (read(secretFile(stateDir)) === undefined) writeFileSync(secretFile(stateDir), `whsec_${randomBytes(32).toString('base64')}`, { mode: 0o600 });
}

/** What the HTTP door of `waybill dev` believes. */
export function devIssuerEnvironment(stateDir: string): Environment {
  const named = kinds.map((kind) => [
    [`WAYBILL_${kind.toUpperCase()}_ISSUER`, issuerOf(kind)], [`WAYBILL_${kind.toUpperCase()}_KEYS`, publicFile(stateDir, kind)],
  ] as const);
  return { ...Object.fromEntries(named.flat()), WAYBILL_WEBHOOK_SECRETS: read(secretFile(stateDir)) };
}

/** A token of an operator or a service with these roles. */
export async function issueBearer(stateDir: string, kind: 'operator' | 'service', subject: string, roles: readonly Role[], minutes: number): Promise<string> {
  return await issue(stateDir, kind, { sub: subject, roles }, minutes);
}

/** What a workspace's token says; the thumbprints are those of its agent's keys (RFC 7638). */
export interface WorkspaceClaims {
  readonly workspaceId: string;
  readonly orgId: string;
  readonly epoch: number;
  readonly signingThumbprint: string;
  readonly encryptionKeyThumbprint: string;
}

/** A token of a workspace, for 15 minutes. */
export async function issueWorkspaceToken(stateDir: string, { workspaceId, orgId, epoch, signingThumbprint, encryptionKeyThumbprint }: WorkspaceClaims): Promise<string> {
  return await issue(stateDir, 'workspace', { sub: workspaceId, org: orgId, epoch, cnf: { jkt: signingThumbprint }, enc_jkt: encryptionKeyThumbprint }, 15);
}

async function issue(stateDir: string, kind: Kind, claims: Readonly<Record<string, unknown>>, minutes: number): Promise<string> {
  const text = read(privateFile(stateDir, kind));
  if (text === undefined) throw new Failure('input', 'NOT_FOUND', `${folderOf(stateDir)} has no keys: the issuer is made by \`waybill dev\``);
  const key = await importJWK(JSON.parse(text) as JWK, 'EdDSA'); // written by prepareDevIssuer
  const now = Math.floor(Date.now() / 1000);
  return await new SignJWT({ iss: issuerOf(kind), aud: 'waybill', iat: now, exp: now + minutes * 60, ...claims }).setProtectedHeader({ alg: 'EdDSA', kid: keyIdOf(kind) }).sign(key);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
