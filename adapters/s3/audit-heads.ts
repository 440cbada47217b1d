import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3';

import { Failure } from '../../process/failure.ts';
import type { AuditHeads } from '../../process/audit-segment.ts';
import { callAws, clientConfig, statusOf } from '../aws/call-aws.ts';
import type { StoreSettings } from './artifact-store.ts';

const callTimeoutMs = 30_000;
const prefix = 'audit-heads/';
/** Positions as they sort: 2^53 has 16 digits. */
const nameOf = (from: number): string => `${prefix}${String(from).padStart(16, '0')}.json`;

export interface S3AuditHeads extends AuditHeads {
  close(): void;
}

/** Sealed pieces of the audit chain as objects that no second write replaces, one under each first position. */
export function createAuditHeads({ bucket, ...settings }: StoreSettings): S3AuditHeads {
  const client = new S3Client({
    ...clientConfig(settings), forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const call = async <T>(operation: string, send: (abort: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> => {
    try {
      return await callAws({ what: `S3 ${operation}`, timeoutMs: callTimeoutMs, idempotent: true }, async (abortSignal) => await send({ abortSignal }));
    } catch (error) {
      // There is no such segment, or there is one already: answers, not failures. A bucket that is not there is one.
      if (!(error instanceof S3ServiceException) || error.name === 'NoSuchKey' || statusOf(error) === 412) throw error;
      throw new Failure('dependency', 'UPSTREAM', `S3 ${operation}: ${error.name}: ${error.message}`, { cause: error });
    }
  };
  return {
    async put(from, bytes) {
      try {
        await call('PutObject', async (abort) => await client.send(
          new PutObjectCommand({ Bucket: bucket, Key: nameOf(from), Body: bytes, ContentLength: bytes.length, ContentType: 'application/json', IfNoneMatch: '*' }), abort,
        ));
        return true;
      } catch (error) {
        if (statusOf(error) === 412) return false;
        throw error;
      }
    },
    async list(after) {
      const found: number[] = [];
      for (let token: string | undefined; ;) {
        const page = await call('ListObjectsV2', async (abort) => await client.send(new ListObjectsV2Command({
          Bucket: bucket, Prefix: prefix, ...(token === undefined ? { StartAfter: nameOf(Math.max(after, 0)) } : { ContinuationToken: token }),
        }), abort));
        found.push(...(page.Contents ?? []).map(({ Key = '' }) => Number(Key.slice(prefix.length, -'.json'.length))).filter((from) => Number.isSafeInteger(from) && from > after));
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
        if (token === undefined) return found;
      }
    },
    async get(from) {
      try {
        return await call('GetObject', async (abort) => {
          const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: nameOf(from) }), abort);
          return Body === undefined ? undefined : Buffer.from(await Body.transformToByteArray());
        });
      } catch (error) {
        if (error instanceof S3ServiceException && error.name === 'NoSuchKey') return undefined;
        throw error;
      }
    },
    close: () => { client.destroy(); },
  };
}
