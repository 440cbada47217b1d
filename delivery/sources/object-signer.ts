/** The store of sealed releases, as a grant needs it. Implemented by adapters/s3. */
export interface ObjectSigner {
  /**
   * A URL that fetches one object, this very one, until it expires (C3). Nothing is asked of the store.
   * @param at when the URL begins to live: the database's time, not this process's (I21)
   * @param seconds 1 to 60
   * @returns the URL, which is a secret while it lives, and the headers that it was signed with and that have to be sent
   */
  presignGet(
    object: { readonly key: string; readonly versionId: string | null; readonly etag: string },
    life: { readonly at: Date; readonly seconds: number },
  ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly expiresAt: Date }>;
}
