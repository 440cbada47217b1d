import { createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../atomic-file.ts';
import { parsePolicy, type KeyPolicy } from './key-policy.ts';
import { KmsError } from './kms-error.ts';

export type KeySpec = 'SYMMETRIC_DEFAULT' | 'ECC_NIST_EDWARDS25519';
export type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion';

/** A key as it lies on disk. */
export interface StoredKey {
  id: string;
  spec: KeySpec;
  description: string;
  createdAt: number;
  state: KeyState;
  /** Milliseconds since 1970, or null. */
  deletionAt: number | null;
  policy: string;
  /** base64: 32 random bytes, or a private key as PKCS #8 DER. */
  material: string;
}

/** The keys and aliases of the local KMS: one private file a key, written whole and synced before a call is answered. */
export class KeyStore {
  readonly #keysDir: string;
  readonly #aliasFile: string;
  readonly #keys = new Map<string, StoredKey>();
  readonly #policies = new Map<string, KeyPolicy>();
  readonly #aliases: Map<string, string>;
  readonly #arnPrefix: string;

  constructor(folder: string, arnPrefix: string) {
    this.#arnPrefix = arnPrefix;
    this.#keysDir = join(folder, 'keys');
    this.#aliasFile = join(folder, 'aliases.json');
    mkdirSync(this.#keysDir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#keysDir)) {
      // What a crash left half-written has another name, and its caller was not answered.
      if (!name.endsWith('.json')) rmSync(join(this.#keysDir, name));
      // Written by us alone, in a folder that is ours alone.
      else this.#remember(JSON.parse(readFileSync(join(this.#keysDir, name), 'utf8')) as StoredKey);
    }
    this.#aliases = new Map(Object.entries(JSON.parse(readIfThere(this.#aliasFile) ?? '{}') as Record<string, string>));
  }

  create(spec: KeySpec, description: string, policy: string): StoredKey {
    const material =
      spec === 'SYMMETRIC_DEFAULT' ? randomBytes(32) : generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' });
    const key: StoredKey = { id: randomUUID(), spec, description, createdAt: Date.now(), state: 'Enabled', deletionAt: null, policy, material: material.toString('base64') };
    this.save(key);
    return key;
  }

  save(key: StoredKey): void {
    writeAtomically(join(this.#keysDir, `${key.id}.json`), JSON.stringify(key));
    this.#remember(key);
  }

  /** In: a key id, key ARN, `alias/name` or alias ARN. Throws NotFoundException. */
  find(name: string): StoredKey {
    const local = name.startsWith(this.#arnPrefix) ? name.slice(this.#arnPrefix.length).replace(/^key\//, '') : name;
    const id = local.startsWith('alias/') ? this.#aliases.get(local) : local;
    const key = id === undefined ? undefined : this.#live(id);
    if (key === undefined) throw new KmsError('NotFoundException', `Key '${name}' does not exist.`);
    return key;
  }

  /** By id alone; undefined when there is none (any more). */
  byId(id: string): StoredKey | undefined {
    return this.#live(id);
  }

  policyOf(key: StoredKey): KeyPolicy {
    return this.#policies.get(key.id) ?? [];
  }

  nameAlias(alias: string, key: StoredKey): void {
    const id = this.#aliases.get(alias);
    if (id !== undefined && this.#live(id) !== undefined) throw new KmsError('AlreadyExistsException', `An alias with the name ${alias} already exists.`);
    this.#aliases.set(alias, key.id);
    writeAtomically(this.#aliasFile, JSON.stringify(Object.fromEntries(this.#aliases)));
  }

  arn(key: StoredKey): string {
    return `${this.#arnPrefix}key/${key.id}`;
  }

  #remember(key: StoredKey): void {
    this.#keys.set(key.id, key);
    this.#policies.set(key.id, parsePolicy(key.policy));
  }

  /** A key whose waiting period is over is gone, with what it protected. */
  #live(id: string): StoredKey | undefined {
    const key = this.#keys.get(id);
    if (key === undefined || key.deletionAt === null || key.deletionAt > Date.now()) return key;
    this.#keys.delete(id);
    rmSync(join(this.#keysDir, `${id}.json`), { force: true });
    return undefined;
  }
}

export const secretBytes = (key: StoredKey): Buffer => Buffer.from(key.material, 'base64');
export const privateKey = (key: StoredKey): KeyObject => createPrivateKey({ key: secretBytes(key), format: 'der', type: 'pkcs8' });
