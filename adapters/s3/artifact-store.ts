import {
  CreateBucketCommand, GetObjectCommand, HeadBucketCommand, HeadObjectCommand, PutObjectCommand, S3Client, type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

import type { ArtifactStore, StoredObject } from '../../catalogue/publish/upload.ts';
import type { ObjectSigner } from '../../delivery/sources/object-signer.ts';
import { Failure } from '../../process/failure.ts';
import { callAws, clientConfig, statusOf, type AwsSettings } from '../aws/call-aws.ts';

export interface StoreSettings extends AwsSettings {
  readonly bucket: string;
}

/** An object as the store describes it. */
export interface ObjectHead extends StoredObject {
  readonly bytes: number;
}

export interface S3ArtifactStore extends ArtifactStore, ObjectSigner {
  /** Undefined when there is no such object. @throws Failure dependency UNAVAILABLE, UPSTREAM */
  head(key: string): Promise<ObjectHead | undefined>;
  /** Makes the bucket if it is not there. @throws Failure dependency UNAVAILABLE, UPSTREAM */
  ensureBucket(): Promise<void>;
  close(): void;
}

/** Deadline of an upload of at most 200 MB, and of everything else. */
const uploadTimeoutMs = 300_000;
const callTimeoutMs = 10_000;
/** A grant lives no longer (C3). */
const grantSecondsMax = 60;

/** The object store over the S3 API; path-style addresses, which every server understands. */
export function createArtifactStore({ bucket, ...settings }: StoreSettings): S3ArtifactStore {
  const client = new S3Client({
    ...clientConfig(settings),
    forcePathStyle: true,
    // Our own digest travels with each upload; the SDK's trailing checksums are not understood everywhere.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const call = async <T>(operation: string, timeoutMs: number, send: (abort: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> =>
    await callStore(`S3 ${operation}`, timeoutMs, send);

  const head = async (key: string): Promise<ObjectHead | undefined> => {
    try {
      return headOf(await call('HeadObject', callTimeoutMs, async (abort) => await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), abort)));
    } catch (error) {
      if (statusOf(causeOf(error)) === 404) return undefined;
      throw error;
    }
  };

  return {
    head,
    async putImmutable({ key, bytes, sha256 }) {
      const command = new PutObjectCommand({
        Bucket: bucket, Key: key, Body: bytes, ContentLength: bytes.length, ContentType: 'application/octet-stream',
        ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'), IfNoneMatch: '*',
      });
      try {
        const { ETag, VersionId } = await call('PutObject', uploadTimeoutMs, async (abort) => await client.send(command, abort));
        if (ETag !== undefined) return { etag: ETag, versionId: VersionId ?? null };
      } catch (error) {
        if (statusOf(causeOf(error)) !== 412) throw error;
      }
      // There already: our own earlier try whose answer was lost, since nobody else makes these bytes.
      const found = await head(key);
      if (found?.bytes === bytes.length) return { etag: found.etag, versionId: found.versionId };
      throw new Failure('input', 'CONFLICT', `The object ${key} has ${found?.bytes ?? 'no'} bytes in the store, not the ${bytes.length} that its name stands for: somebody else wrote it`);
    },
    async presignGet({ key, versionId, etag }, { at, seconds }) {
      if (!Number.isInteger(seconds) || seconds < 1 || seconds > grantSecondsMax) throw new Error(`a signed URL lives 1 to ${grantSecondsMax} seconds, not ${seconds}`);
      const command = new GetObjectCommand({ Bucket: bucket, Key: key, IfMatch: etag, ...(versionId !== null && { VersionId: versionId }) });
      const url = await getSignedUrl(client, command, { expiresIn: seconds, signingDate: at });
      return { url, headers: { 'if-match': etag }, expiresAt: new Date(at.getTime() + seconds * 1_000) };
    },
    async ensureBucket() {
      try {
        await call('HeadBucket', callTimeoutMs, async (abort) => await client.send(new HeadBucketCommand({ Bucket: bucket }), abort));
        return;
      } catch (error) {
        if (statusOf(causeOf(error)) !== 404) throw error;
      }
      try {
        await call('CreateBucket', callTimeoutMs, async (abort) => await client.send(new CreateBucketCommand({ Bucket: bucket }), abort));
      } catch (error) {
        if (statusOf(causeOf(error)) !== 409) throw error; // somebody else made it meanwhile
      }
    },
    close: () => { client.destroy(); },
  };
}

/** Every call here may be repeated: writes are conditional. What the store refuses, it would refuse the next one too. */
async function callStore<T>(what: string, timeoutMs: number, send: (abort: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
  try {
    return await callAws({ what, timeoutMs, idempotent: true }, async (abortSignal) => await send({ abortSignal }));
  } catch (error) {
    if (error instanceof Failure || !(error instanceof Error)) throw error;
    throw new Failure('dependency', 'UPSTREAM', `${what}: ${error.name}: ${error.message}`, { cause: error });
  }
}

const causeOf = (error: unknown): unknown => (error instanceof Failure ? error.cause : error);

function headOf({ ETag, VersionId, ContentLength }: HeadObjectCommandOutput): ObjectHead {
  return { etag: ETag ?? '', versionId: VersionId ?? null, bytes: ContentLength ?? 0 };
}
