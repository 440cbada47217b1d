import { Failure } from './failure.ts';

/** One row of a sealed segment: its id, and the first eight bytes of its digest: enough to name it, whoever rewrote the chain. */
export interface SealedRow {
  readonly id: number;
  readonly digest: Buffer;
}

/** A piece of the chain as it was published. Positions from `from` to `to`; `before` and `hash` are the chain around them. */
export interface AuditSegment {
  readonly from: number;
  readonly to: number;
  readonly before: Buffer;
  readonly hash: Buffer;
  readonly rows: readonly SealedRow[];
}

/**
 * Where sealed segments are published, out of reach of who may write the database (I20). Implemented by adapters/s3.
 * A segment is written under its first position, once: two chains cannot both go on from there.
 */
export interface AuditHeads {
  /** False: a segment that begins there was published already. @throws Failure dependency */
  put(from: number, bytes: Buffer): Promise<boolean>;
  /** First positions of the published segments above `after`, ascending. @throws Failure dependency */
  list(after: number): Promise<number[]>;
  /** @throws Failure dependency */
  get(from: number): Promise<Buffer | undefined>;
}

/** Rows in a segment at most: what one chainer publishes at once. */
export const segmentRowsMax = 10_000;
/** Bytes of a digest that a segment keeps. */
export const shortDigestBytes = 8;
const rowBytes = 8 + shortDigestBytes;

/** A segment as JSON, its rows packed: 8 bytes of id and 8 of digest each. */
export function serializeSegment({ from, to, before, hash, rows }: AuditSegment): Buffer {
  const packed = Buffer.alloc(rows.length * rowBytes);
  for (const [i, { id, digest }] of rows.entries()) {
    packed.writeBigUInt64BE(BigInt(id), i * rowBytes);
    digest.copy(packed, i * rowBytes + 8, 0, shortDigestBytes);
  }
  return Buffer.from(`${JSON.stringify({ format: 1, from, to, before: before.toString('hex'), hash: hash.toString('hex'), rows: packed.toString('base64') })}\n`);
}

/** @throws Failure subject AUDIT_ALTERED when the bytes are no segment that begins at `from` */
export function parseSegment(from: number, bytes: Buffer): AuditSegment {
  const broken = (what: string): Failure => new Failure('subject', 'AUDIT_ALTERED', `The published segment of position ${from} ${what}`);
  let raw: unknown;
  try {
    raw = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new Failure('subject', 'AUDIT_ALTERED', `The published segment of position ${from} is not JSON`, { cause: error });
  }
  if (!isRaw(raw)) throw broken('is not one');
  const packed = Buffer.from(raw.rows, 'base64');
  if (raw.from !== from) throw broken(`says that it begins at ${raw.from}`);
  if (raw.to < from || packed.length !== (raw.to - from + 1) * rowBytes) throw broken('has not the rows of its positions');
  return {
    from, to: raw.to, before: Buffer.from(raw.before, 'hex'), hash: Buffer.from(raw.hash, 'hex'),
    rows: Array.from({ length: raw.to - from + 1 }, (_, i) => ({
      id: Number(packed.readBigUInt64BE(i * rowBytes)), digest: packed.subarray(i * rowBytes + 8, (i + 1) * rowBytes),
    })),
  };
}

interface RawSegment {
  readonly from: number;
  readonly to: number;
  readonly before: string;
  readonly hash: string;
  readonly rows: string;
}

function isRaw(value: unknown): value is RawSegment {
  if (typeof value !== 'object' || value === null) return false;
  const raw = value as Partial<Record<keyof RawSegment | 'format', unknown>>; // looked at field by field below
  return raw.format === 1 && Number.isSafeInteger(raw.from) && Number.isSafeInteger(raw.to) && typeof raw.rows === 'string'
    && [raw.before, raw.hash].every((hash) => typeof hash === 'string' && /^[0-9a-f]{64}$/u.test(hash));
}
