import { randomBytes } from 'node:crypto';
import { DeleteBucketCommand, DeleteObjectCommand, ListObjectsV2Command, PutBucketVersioningCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';

import type { AwsSettings } from '../../adapters/aws/call-aws.ts';
import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import { createArtifactStore, type S3ArtifactStore } from '../../adapters/s3/artifact-store.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { fetchSealed } from '../../delivery/sources/brokered.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { findVersitygw, startVersitygw, versitygwBuildMs } from '../support/versitygw.ts';

interface Place {
  readonly settings: AwsSettings;
  readonly versioned: boolean;
}

const places: Record<string, () => Promise<Place | { missing: string }>> = {
  S3Proxy: async () => ({ settings: inject('stack').s3, versioned: false }),
  versitygw: async () => {
    const found = await findVersitygw();
    return 'missing' in found ? found : { settings: await startVersitygw(found.binary, temporaryFolder()), versioned: true };
  },
};

const sealed = randomBytes(70_000);
const key = `releases/acme/seo-agent/1.0.0/${sha256(sealed)}`;
const object = { key, bytes: sealed, sha256: sha256(sealed) };
const life = () => ({ at: new Date(), seconds: 60 });

async function dropBucket(raw: S3Client, bucket: string): Promise<void> {
  const { Contents: objects = [] } = await raw.send(new ListObjectsV2Command({ Bucket: bucket }));
  for (const { Key } of objects) await raw.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
  // A refused upload leaves a temporary file with S3Proxy, which nobody sees and which keeps the bucket.
  await raw.send(new DeleteBucketCommand({ Bucket: bucket })).catch(() => undefined);
}

describe.each(Object.keys(places))('the artifact store on %s', (name) => {
  /** A store with an empty bucket, beside a plain client that stands for whoever else has rights there. */
  const open = async (skip: (why: string) => never): Promise<{ store: S3ArtifactStore; raw: S3Client; bucket: string; place: Place; settings: AwsSettings }> => {
    const place = await (places[name] ?? places['S3Proxy'])?.();
    if (place === undefined || 'missing' in place) return skip(place?.missing ?? 'no such place');
    const { settings } = place;
    const bucket = `test-store-${randomBytes(6).toString('hex')}`;
    const store = createArtifactStore({ ...settings, bucket });
    const raw = new S3Client({ endpoint: settings.endpoint, region: settings.region, credentials: settings, forcePathStyle: true });
    onTestFinished(async () => {
      if (!place.versioned) await dropBucket(raw, bucket); // the other store goes with its folder
      store.close();
      raw.destroy();
    });
    await store.ensureBucket();
    if (place.versioned) await raw.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }));
    return { store, raw, bucket, place, settings };
  };
  const fetchIt = async (settings: AwsSettings, signed: { url: string; headers: Readonly<Record<string, string>> }, from = object): Promise<Buffer> => {
    const fetcher = createGuardedFetch({ hosts: [new URL(settings.endpoint).host], privateHosts: [], timeoutMs: 30_000, idleMs: 15_000 });
    onTestFinished(async () => { await fetcher.close(); });
    return await fetchSealed(fetcher, { ...signed, ciphertextSha256: from.sha256, ciphertextBytes: from.bytes.length });
  };

  beforeAll(async () => {
    if (name === 'versitygw') await findVersitygw();
  }, versitygwBuildMs);

  test('keeps an object and gives it back through a signed URL, byte for byte', async ({ skip }) => {
    const { store, settings } = await open(skip);
    const stored = await store.putImmutable(object);
    await expect(store.head(key)).resolves.toEqual({ ...stored, bytes: sealed.length });
    await expect(fetchIt(settings, await store.presignGet({ key, ...stored }, life()))).resolves.toEqual(sealed);
  });

  test('has versions where the bucket keeps them', async ({ skip }) => {
    const { store, place } = await open(skip);
    const { versionId } = await store.putImmutable(object);
    expect(versionId === null).toBe(!place.versioned);
  });

  test('makes its bucket once, whoever asks', async ({ skip }) => {
    const { store } = await open(skip);
    await Promise.all([store.ensureBucket(), store.ensureBucket()]);
    await expect(store.head('nothing')).resolves.toBeUndefined();
  });

  test('writes an object once: the same again finds it there', async ({ skip }) => {
    const { store } = await open(skip);
    const first = await store.putImmutable(object);
    await expect(store.putImmutable(object)).resolves.toEqual(first);
  });

  test('of many writers at once all find one object there', async ({ skip }) => {
    const { store } = await open(skip);
    const stored = await Promise.all(Array.from({ length: 8 }, async () => await store.putImmutable(object)));
    expect(new Set(stored.map(({ etag }) => etag)).size).toBe(1);
    expect(new Set(stored.map(({ versionId }) => versionId)).size).toBe(1);
  });

  test('replaces nothing: other bytes under the key are a CONFLICT', async ({ skip }) => {
    const { store, raw, bucket, settings } = await open(skip);
    await raw.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: 'squatted' }));
    await expect(store.putImmutable(object)).rejects.toMatchObject({ kind: 'input', code: 'CONFLICT' });
    const head = await store.head(key);
    await expect(fetchIt(settings, await store.presignGet({ key, etag: head?.etag ?? '', versionId: head?.versionId ?? null }, life())))
      .rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });

  test('refuses bytes that have not the digest they come with', async ({ skip }) => {
    const { store } = await open(skip);
    await expect(store.putImmutable({ ...object, sha256: sha256('other') })).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
    await expect(store.head(key)).resolves.toBeUndefined();
  });

  test('B5: an object that was swapped after it was signed is not fetched, nor one that is gone', async ({ skip }) => {
    const { store, raw, bucket, place, settings } = await open(skip);
    const stored = await store.putImmutable(object);
    const signed = await store.presignGet({ key, ...stored }, life());
    await raw.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: randomBytes(sealed.length) }));
    // Where versions are kept, the swap does not even reach us: the URL names the version.
    if (place.versioned) await expect(fetchIt(settings, signed)).resolves.toEqual(sealed);
    else await expect(fetchIt(settings, signed)).rejects.toMatchObject({ kind: 'subject', code: 'INTEGRITY_FAILED', message: expect.stringContaining('replaced') as string });
    await raw.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, ...(stored.versionId !== null && { VersionId: stored.versionId }) }));
    await expect(fetchIt(settings, signed)).rejects.toMatchObject({ kind: 'subject', code: 'INTEGRITY_FAILED', message: expect.stringContaining('gone') as string });
  });

  test('C3: a signed URL is good for its own object, unaltered, with the headers it was signed with', async ({ skip }) => {
    const { store, settings } = await open(skip);
    const stored = await store.putImmutable(object);
    const other = { ...object, bytes: randomBytes(10), key: 'releases/other' };
    await store.putImmutable({ ...other, sha256: sha256(other.bytes) });
    const signed = await store.presignGet({ key, ...stored }, life());
    const altered = (edit: (url: URL) => void): { url: string; headers: Readonly<Record<string, string>> } => {
      const url = new URL(signed.url);
      edit(url);
      return { ...signed, url: url.href };
    };
    const refused = { kind: 'subject', code: 'UPSTREAM', message: expect.stringContaining('403') as string };
    await expect(fetchIt(settings, altered((url) => { url.pathname = url.pathname.replace(key, other.key); }))).rejects.toMatchObject(refused);
    await expect(fetchIt(settings, altered((url) => { url.searchParams.set('X-Amz-Expires', '3600'); }))).rejects.toMatchObject(refused);
    await expect(fetchIt(settings, altered((url) => { url.search = ''; }))).rejects.toMatchObject(refused);
    await expect(fetchIt(settings, { ...signed, headers: { 'if-match': '"other"' } })).rejects.toMatchObject(refused);
    await expect(fetchIt(settings, { ...signed, headers: {} })).rejects.toMatchObject({ kind: 'subject', code: 'UPSTREAM' });
  });

  test('C3, I21: a signed URL ends when its time is over, counted from the time that was given', async ({ skip }) => {
    const { store, settings } = await open(skip);
    const stored = await store.putImmutable(object);
    const at = new Date(Date.now() - 62_000);
    const signed = await store.presignGet({ key, ...stored }, { at, seconds: 60 });
    expect(signed.expiresAt.getTime()).toBe(at.getTime() + 60_000);
    await expect(fetchIt(settings, signed)).rejects.toMatchObject({ kind: 'subject', code: 'GRANT_EXPIRED' });
  });

  test('I23: a signed URL lives 60 seconds at most', async ({ skip }) => {
    const { store } = await open(skip);
    for (const seconds of [0, 61, 1.5]) await expect(store.presignGet({ key, etag: '"e"', versionId: null }, { at: new Date(), seconds })).rejects.toThrow(/1 to 60 seconds/u);
    const { url } = await store.presignGet({ key, etag: '"e"', versionId: null }, life());
    expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe('60');
    expect(new URL(url).searchParams.get('X-Amz-SignedHeaders')).toBe('host;if-match');
  });

  test('is a dependency that fails when it refuses us or is not there', async ({ skip }) => {
    const { settings, bucket } = await open(skip);
    const failing = async (changed: Partial<AwsSettings>): Promise<unknown> => {
      const store = createArtifactStore({ ...settings, bucket, ...changed });
      onTestFinished(() => { store.close(); });
      return await store.putImmutable(object);
    };
    await expect(failing({ secretAccessKey: 'wrong' })).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
    await expect(failing({ endpoint: 'http://127.0.0.1:1' })).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
  });
});
