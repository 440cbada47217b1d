import { describe, expect, test } from 'vitest';

import { parseAllowedUrl } from '../../adapters/guarded-fetch/allowed-hosts.ts';
import { fetchListsOf } from '../../wire-sources.ts';

const policyOf = (url: string, s3Endpoint: string, fetchHosts: string[] = []): string => parseAllowedUrl(url, fetchListsOf({ s3Endpoint, fetchHosts, gitArchives: [] })).policy;
const refused = expect.objectContaining({ code: 'ADDRESS_REFUSED' }) as Error;

describe('where a sealed release may be fetched from (C15)', () => {
  test('the name of the store may lead to public addresses alone', () => {
    expect(policyOf('https://s3.example.com/bucket/key', 'https://s3.example.com')).toBe('public');
    expect(() => policyOf('http://s3.example.com/bucket/key', 'http://s3.example.com')).toThrow(refused);
  });

  test('a store that is named by its address means that address, as the local one is', () => {
    expect(policyOf('http://127.0.0.1:9000/bucket/key', 'http://127.0.0.1:9000')).toBe('private');
  });

  test('a name that leads to a private address is listed', () => {
    expect(policyOf('http://minio.internal:9000/bucket/key', 'http://minio.internal:9000', ['minio.internal:9000'])).toBe('private');
  });

  test('no other host, and no other port of it', () => {
    for (const url of ['https://other.example.com/key', 'https://s3.example.com:8443/key']) expect(() => policyOf(url, 'https://s3.example.com')).toThrow(refused);
  });
});
