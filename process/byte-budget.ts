/**
 * Bounds what is in memory at once. Takers are served in the order they asked; one that asks for more than the whole
 * budget gets all of it, alone, rather than waiting for ever.
 */
export class ByteBudget {
  readonly #max: number;
  #free: number;
  readonly #waiting: { bytes: number; start: () => void }[] = [];

  /** `max` in bytes. */
  constructor(max: number) {
    this.#max = max;
    this.#free = max;
  }

  /** Runs `work` while `bytes` are held. */
  async spend<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const asked = Math.min(bytes, this.#max);
    if (this.#waiting.length > 0 || this.#free < asked) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.#waiting.push({ bytes: asked, start: () => { resolve(undefined); } });
      await promise;
    } else {
      this.#free -= asked;
    }
    try {
      return await work();
    } finally {
      this.#free += asked;
      this.#serve();
    }
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.bytes <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.bytes;
      next.start();
    }
  }
}
