/**
 * Which version of each key was seen last, so that repeats and late ones can be told (I6). Holds `max` keys; the one that
 * was seen longest ago is forgotten first, and a repeat of it is then taken for news.
 */
export interface NewestSeen {
  isNews(key: string, version: number): boolean;
  saw(key: string, version: number): void;
}

export function createNewestSeen(max: number): NewestSeen {
  const versions = new Map<string, number>();
  return {
    isNews: (key, version) => version > (versions.get(key) ?? 0),
    saw(key, version) {
      const newest = Math.max(version, versions.get(key) ?? 0);
      versions.delete(key);
      versions.set(key, newest);
      if (versions.size > max) for (const oldest of versions.keys()) { versions.delete(oldest); break; }
    },
  };
}
