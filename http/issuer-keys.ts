import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose';

import { asFailure, Failure } from '../process/failure.ts';

/** Where the public keys of an issuer come from. Has a deadline of its own. */
export interface KeySetSource {
  /** The JWK set as text. Throws Failure dependency when it cannot be had. */
  load(): Promise<string>;
}

/** After this the set is loaded again, in milliseconds. */
const freshMs = 300_000;
/** For so long a set goes on counting when it cannot be loaded again: an issuer that is away stops nobody at once. */
const usableMs = 3_600_000;
/** Shortest time between two loads for a key that is not in the set: made-up key ids cost the issuer nothing. */
const restMs = 10_000;

/** The keys of one issuer, kept for a while. Time is the process's own, which never goes back. */
export class IssuerKeys {
  readonly #source: KeySetSource;
  readonly #elapsedMs: () => number;
  #loading: Promise<void> | undefined;
  #set: JWTVerifyGetKey | undefined;
  #loadedAt = -Infinity;
  #triedAt = -Infinity;

  constructor(source: KeySetSource, elapsedMs: () => number = () => performance.now()) {
    this.#source = source;
    this.#elapsedMs = elapsedMs;
  }

  /** Loads the set if there is none that is fresh. Throws Failure dependency when there is none to be used. */
  async ensure(): Promise<JWTVerifyGetKey> {
    if (this.#elapsedMs() - this.#loadedAt > freshMs && this.#elapsedMs() - this.#triedAt > (this.#set === undefined ? 0 : restMs)) {
      try {
        await this.#load();
      } catch (error) {
        if (this.#set === undefined || this.#elapsedMs() - this.#loadedAt > usableMs) throw error;
      }
    }
    if (this.#set === undefined || this.#elapsedMs() - this.#loadedAt > usableMs) throw new Failure('dependency', 'UNAVAILABLE', 'The keys of an issuer could not be loaded');
    return this.#set;
  }

  /** The key of a token, as jose asks for it. A key that is not known is looked for once in a set that is loaded anew. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const set = await this.ensure();
    try {
      return await set(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || this.#elapsedMs() - this.#triedAt < restMs) throw error;
    }
    await this.#load();
    return await (await this.ensure())(header, token);
  };

  async #load(): Promise<void> {
    this.#loading ??= this.#loadOnce().finally(() => { this.#loading = undefined; });
    await this.#loading;
  }

  async #loadOnce(): Promise<void> {
    this.#triedAt = this.#elapsedMs();
    try {
      this.#set = createLocalJWKSet(parseKeySet(await this.#source.load()));
    } catch (error) {
      // Whatever it was, it is no fault of whoever calls.
      const { message } = asFailure(error);
      throw new Failure('dependency', 'UNAVAILABLE', `The keys of an issuer could not be loaded: ${message}`, { cause: error });
    }
    this.#loadedAt = this.#triedAt;
  }
}

/** A set of public signing keys. One with a private or a symmetric key is somebody's mistake, and refused whole. */
export function parseKeySet(text: string): JSONWebKeySet {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch (error) {
    throw new Failure('dependency', 'UPSTREAM', 'The key set of an issuer is no JSON', { cause: asFailure(error) });
  }
  const keys: unknown = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : undefined;
  if (!Array.isArray(keys)) throw new Failure('dependency', 'UPSTREAM', 'The key set of an issuer has no list of keys');
  return { keys: keys.map(parsePublicKey) };
}

function parsePublicKey(key: unknown): JWK {
  if (typeof key !== 'object' || key === null || !('kty' in key) || typeof key.kty !== 'string' || 'd' in key || 'k' in key) {
    throw new Failure('dependency', 'UPSTREAM', 'The key set of an issuer holds what is no public key: publish the public halves alone');
  }
  return { ...key, kty: key.kty };
}
