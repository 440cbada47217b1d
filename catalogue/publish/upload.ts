import type { Sha256 } from '../../schemas/ids.ts';

/** An object as the store has it. */
export interface StoredObject {
  /** What the store calls these bytes, quotes and all. */
  readonly etag: string;
  /** The version of the object where the store keeps versions, else null. */
  readonly versionId: string | null;
}

/** The store of sealed releases, as publishing needs it. Implemented by adapters/s3. */
export interface ArtifactStore {
  /**
   * Writes an object that no other write replaces. The key names the digest of the bytes, so a repeat after a lost answer
   * finds its own object and is not an error.
   * @throws Failure dependency UNAVAILABLE, UPSTREAM; input CONFLICT when other bytes lie under the key
   */
  putImmutable(object: { readonly key: string; readonly bytes: Buffer; readonly sha256: Sha256 }): Promise<StoredObject>;
}
