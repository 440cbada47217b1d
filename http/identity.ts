import type { OrgId, WorkspaceId } from '../schemas/ids.ts';

/** What an operator or a service may do; none of them holds another. */
export const roles = ['read', 'operate', 'security'] as const;
export type Role = (typeof roles)[number];

/** A box: its token was issued by the control plane, and the request was signed with the key that the token names. */
export interface WorkspaceCaller {
  readonly kind: 'workspace';
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  /** Of the boot that the token was issued for; an older one than the record's is refused. */
  readonly epoch: number;
  /** RFC 7638 thumbprint of the key that signs the workspace's requests (`cnf.jkt`). */
  readonly signingThumbprint: string;
  /** RFC 7638 thumbprint of the key that data keys are wrapped to. */
  readonly encryptionKeyThumbprint: string;
}

export interface OperatorCaller {
  readonly kind: 'operator';
  readonly subject: string;
  readonly roles: readonly Role[];
}

export interface ServiceCaller {
  readonly kind: 'service';
  readonly subject: string;
  readonly roles: readonly Role[];
}

/** Who calls, as proved, never as asserted (C3). */
export type Caller = WorkspaceCaller | OperatorCaller | ServiceCaller;

/** The tenant that a caller may see; undefined: all of them. What reads for a caller reads within it. */
export const tenantOf = (caller: Caller): OrgId | undefined => (caller.kind === 'workspace' ? caller.orgId : undefined);

/** Who may call a route. A kind that is left out gets what it would get if the route did not exist. */
export interface Callers {
  /** own: the workspace that `workspaceId` in the path names, and no other. any: every workspace. */
  readonly workspace?: 'own' | 'any';
  readonly operator?: Role;
  readonly service?: Role;
}

/** hidden: as if nothing were there (404), the same for absent and for foreign. forbidden: known here, but has not the role. */
export type Admission = 'admitted' | 'hidden' | 'forbidden';

/** Whether a proved caller may call a route with these parameters (I11). */
export function decideAdmission(callers: Callers, caller: Caller, workspaceId: string | undefined): Admission {
  if (caller.kind === 'workspace') {
    if (callers.workspace === 'any') return 'admitted';
    return callers.workspace === 'own' && caller.workspaceId === workspaceId ? 'admitted' : 'hidden';
  }
  const role = callers[caller.kind];
  if (role === undefined) return 'hidden';
  return caller.roles.includes(role) ? 'admitted' : 'forbidden';
}

/** The parts of a request that prove who sent it. */
export interface Credentials {
  readonly method: string;
  /** Path without the query, as it was sent. */
  readonly path: string;
  readonly authorization: string | undefined;
  /** The DPoP header (RFC 9449). */
  readonly proof: string | undefined;
}

/** Proves who calls. */
export interface Authenticator {
  /** Throws Failure input UNAUTHENTICATED for whatever does not prove a caller, and dependency when it cannot be told. */
  authenticate(credentials: Credentials): Promise<Caller>;
}
