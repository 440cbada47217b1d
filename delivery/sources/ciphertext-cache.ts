import type { Sha256 } from '../../schemas/ids.ts';

/**
 * Sealed objects that were fetched and verified, by their digest, the least recently used dropped first: many workspaces of
 * one release cost one fetch. Ciphertext alone: it opens only through the KMS, under a grant of its own for each delivery,
 * so what lies here takes nothing from a revocation (A8, B4). Never plaintext, never a key (I9).
 */
export class CiphertextCache {
  readonly #bytesMax: number;
  #bytes = 0;
  readonly #kept = new Map<Sha256, Buffer>();
  readonly #underWay = new Map<Sha256, Promise<Buffer>>();

  /** `bytesMax`: 0 keeps nothing; those who ask at the same time still share one fetch. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The object of this digest, from here or by `fetch`, which verifies what it returns. When the fetch of another fails,
   * this one's own decides: a failure may be the other's alone, as an expired grant is.
   */
  async get(digest: Sha256, fetch: () => Promise<Buffer>): Promise<Buffer> {
    const kept = this.#kept.get(digest);
    if (kept !== undefined) {
      this.#kept.delete(digest);
      this.#kept.set(digest, kept);
      return kept;
    }
    const underWay = this.#underWay.get(digest);
    const others = underWay && await underWay.catch(() => undefined);
    if (others !== undefined) return others;
    const own = fetch();
    this.#underWay.set(digest, own);
    try {
      const fetched = await own;
      this.#keep(digest, fetched);
      return fetched;
    } finally {
      if (this.#underWay.get(digest) === own) this.#underWay.delete(digest);
    }
  }

  #keep(digest: Sha256, ciphertext: Buffer): void {
    if (ciphertext.length > this.#bytesMax || this.#kept.has(digest)) return;
    this.#kept.set(digest, ciphertext);
    this.#bytes += ciphertext.length;
    for (const [oldest, { length }] of this.#kept) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#kept.delete(oldest);
      this.#bytes -= length;
    }
  }
}
