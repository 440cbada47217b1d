import type { ItemId, Sha256 } from '../../schemas/ids.ts';

/** What stands at a path of a volume: the digest of a regular file, or why there is none. */
export type Standing = Sha256 | 'missing' | 'not-regular' | 'too-large';

export interface IdentityFile {
  readonly path: string;
  readonly standing: Standing;
}

/** Whose a digest at a path is: the templates that have it there, `[]` for the runtime's own; null: nobody's that we know. */
export type OwnersOf = (path: string, digest: Sha256) => readonly ItemId[] | null;

/**
 * What the identity files of a workspace say of a mapping (D3).
 * - agrees: at least one is the template's, none is another's or the user's.
 * - absent: there is none; nothing contradicts.
 * - contradicts: one is another template's, or they are the runtime's own and none is the template's.
 * - users: one is nobody's that we know, so the user's: a delivery would keep it, and withhold readiness.
 */
export type IdentityVerdict =
  | { readonly kind: 'agrees' | 'absent' }
  | { readonly kind: 'contradicts'; readonly path: string; readonly owners: readonly ItemId[] }
  | { readonly kind: 'users'; readonly paths: readonly string[] };

export function judgeIdentity(template: ItemId, files: readonly IdentityFile[], ownersOf: OwnersOf): IdentityVerdict {
  const users: string[] = [];
  let own: string | undefined;
  let agrees = false;
  for (const { path, standing } of files) {
    if (standing === 'missing') continue;
    const owners = standing === 'not-regular' || standing === 'too-large' ? null : ownersOf(path, standing);
    if (owners === null) users.push(path);
    else if (owners.includes(template)) agrees = true;
    else if (owners.length > 0) return { kind: 'contradicts', path, owners };
    else own ??= path;
  }
  if (users.length > 0) return { kind: 'users', paths: users };
  if (agrees) return { kind: 'agrees' };
  return own === undefined ? { kind: 'absent' } : { kind: 'contradicts', path: own, owners: [] };
}

/** Whether the files are still those that the plan saw. */
export function sameIdentity(a: readonly IdentityFile[], b: readonly IdentityFile[]): boolean {
  return a.length === b.length && a.every(({ path, standing }, i) => b[i]?.path === path && b[i].standing === standing);
}
