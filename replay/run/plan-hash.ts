import { createHash } from 'node:crypto';

/**
 * SHA-256 over what a run was planned to do: its kind, its plan, and the plans of its items in their order. The same plan
 * gives the same hash whatever the order of keys, also after PostgreSQL has sorted them.
 */
export function planHash(kind: string, plan: unknown, items: Iterable<unknown> = []): string {
  const hash = createHash('sha256').update(`${kind}\n${canonical(plan)}\n`);
  for (const item of items) hash.update(`${canonical(item)}\n`);
  return hash.digest('hex');
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
