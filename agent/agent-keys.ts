import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose';

import { Failure } from '../process/failure.ts';
import type { AgentFiles } from './agent-files.ts';

/** The two key pairs of a workspace. Neither private half ever leaves its volume (C3, C4). */
export interface AgentKeys {
  readonly signing: { readonly key: CryptoKey; readonly publicJwk: JWK; readonly thumbprint: string };
  /** The data keys of releases are wrapped to it. */
  readonly encryption: { readonly key: CryptoKey; readonly publicJwk: JWK; readonly thumbprint: string };
}

/** A key as it may be shown: without its private half. */
const publicFields = ['kty', 'crv', 'x', 'y'] as const;

/**
 * The keys of this volume; made on the first start. `public-keys.json` beside them is for the control plane, whose issuer
 * names both thumbprints in the workspace's token.
 * @throws Failure subject VOLUME_UNWRITABLE, VOLUME_FULL; input CONFIG_INVALID for a file that holds no keys
 */
export async function loadAgentKeys(files: AgentFiles): Promise<AgentKeys> {
  if (files.read('keys.json') === undefined) files.make('keys.json', JSON.stringify(await makeKeys()));
  // Read back in any case: of two that start at once, one's keys are the volume's.
  const { signing, encryption } = readKeys(files.read('keys.json') ?? '');
  const keys = { signing: await open(signing, 'EdDSA'), encryption: await open(encryption, 'ECDH-ES+A256KW') };
  files.write('public-keys.json', JSON.stringify({
    signing: keys.signing.publicJwk, signing_thumbprint: keys.signing.thumbprint,
    encryption: keys.encryption.publicJwk, encryption_thumbprint: keys.encryption.thumbprint,
  }));
  return keys;
}

interface KeyPairs {
  readonly signing: JWK;
  readonly encryption: JWK;
}

async function makeKeys(): Promise<KeyPairs> {
  const [signing, encryption] = await Promise.all([
    generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true }),
    generateKeyPair('ECDH-ES+A256KW', { crv: 'X25519', extractable: true }),
  ]);
  return { signing: await exportJWK(signing.privateKey), encryption: await exportJWK(encryption.privateKey) };
}

function readKeys(text: string): KeyPairs {
  try {
    const { signing, encryption } = JSON.parse(text) as Partial<KeyPairs>;
    if (signing?.d !== undefined && encryption?.d !== undefined) return { signing, encryption };
  } catch {
    // Said below.
  }
  throw new Failure('input', 'CONFIG_INVALID', '.waybill/agent/keys.json holds no keys. Put back the file, or remove it: the agent then makes new ones, and needs a new token');
}

async function open(jwk: JWK, algorithm: string): Promise<AgentKeys['signing']> {
  const publicJwk = Object.fromEntries(publicFields.flatMap((name) => (jwk[name] === undefined ? [] : [[name, jwk[name]]])));
  const key = await importJWK(jwk, algorithm);
  if (key instanceof Uint8Array) throw new Failure('input', 'CONFIG_INVALID', '.waybill/agent/keys.json holds a secret where a key pair should be');
  return { key, publicJwk, thumbprint: await calculateJwkThumbprint(publicJwk) };
}
