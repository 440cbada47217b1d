import { createPublicKey } from 'node:crypto';
import { compactVerify, errors } from 'jose';

import { Failure } from '../process/failure.ts';
import { list, record, symbolOf, type Parser } from '../schemas/field-parsers.ts';
import { FieldError, parseCount, parseItemId, parseOrgId, parseVersion, parseWorkspaceId, type ItemId, type OrgId, type Version, type WorkspaceId } from '../schemas/ids.ts';
import { accesses, type Access } from './broker-answers.ts';

/** What a workspace may keep while its broker cannot be asked, and until when. */
export interface Lease {
  readonly sub: WorkspaceId;
  readonly org: OrgId;
  /** Seconds since the epoch. */
  readonly iat: number;
  readonly exp: number;
  readonly items: readonly { readonly item_id: ItemId; readonly version: Version; readonly access: Access }[];
}

/** Keys of the key list that may sign leases, SPKI DER by their ids. */
export type LeaseKeys = ReadonlyMap<string, Uint8Array>;

const issuer: Parser<'waybill'> = symbolOf(['waybill']);
const fields = record<Lease & { readonly iss: 'waybill' }>({
  iss: issuer, sub: parseWorkspaceId, org: parseOrgId, iat: parseCount, exp: parseCount,
  items: list(record<Lease['items'][number]>({ item_id: parseItemId, version: parseVersion, access: symbolOf(accesses) }), { max: 1_000 }),
});

/**
 * A lease, if one of the broker's keys signed it for this workspace. Whether it has run out is the caller's question.
 * @throws Failure subject INTEGRITY_FAILED
 */
export async function verifyLease(jws: string, workspaceId: WorkspaceId, keys: LeaseKeys): Promise<Lease> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, ({ kid }) => {
      const key = kid === undefined ? undefined : keys.get(kid);
      if (key === undefined) throw new errors.JOSEError('no key of the broker has this id');
      return createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' });
    }, { algorithms: ['EdDSA', 'Ed25519'] });
    if (protectedHeader.typ !== 'waybill-lease+jwt') throw new errors.JOSEError('it is no lease');
    const lease = fields(JSON.parse(Buffer.from(payload).toString('utf8')), '', 'tolerant');
    if (lease.sub !== workspaceId) throw new errors.JOSEError('it is for another workspace');
    return lease;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof FieldError || error instanceof SyntaxError) {
      throw new Failure('subject', 'INTEGRITY_FAILED', `The lease is refused: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** Whether a lease no longer allows anything; none at all does not. */
export const hasRunOut = (lease: Lease | undefined, nowMs: number): boolean => lease === undefined || nowMs >= lease.exp * 1000;

/** The later of two leases by when they were issued, so that an old one never takes the place of a new one. */
export const newerLease = (kept: Lease | undefined, given: Lease): boolean => kept === undefined || given.iat >= kept.iat;
