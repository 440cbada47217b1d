import type { LookupAddress } from 'node:dns';
import { describe, expect, test } from 'vitest';

import { isAddressAllowed } from '../../adapters/guarded-fetch/address-policy.ts';
import { addressOf, parseAllowedUrl, showUrl } from '../../adapters/guarded-fetch/allowed-hosts.ts';
import { guardedLookup } from '../../adapters/guarded-fetch/guarded-lookup.ts';

const loopbacks = ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'];
const privates = ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fd00::1', 'fc00::1', '::ffff:10.0.0.1'];
const never = [
  '0.0.0.0', '0.1.2.3', '169.254.169.254', '169.254.0.1', 'fe80::1', '::', '::7f00:1', '::127.0.0.1', '224.0.0.1', 'ff02::1', '255.255.255.255',
  '240.0.0.1', '192.0.0.8', '192.0.2.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '168.63.129.16', '::ffff:168.63.129.16', '::ffff:169.254.169.254',
  '2001:db8::1', '2002:7f00:1::', '2001::1', '64:ff9b::7f00:1', 'fec0::1', '100::1', 'fd00:ec2::254x', 'localhost', '', '1.2.3', '1.2.3.4.5',
];

describe('I13: which addresses may be dialled', () => {
  test.each(['1.1.1.1', '93.184.215.14', '2606:4700:4700::1111', '172.32.0.1', '::ffff:1.1.1.1'])('%s always', (address) => {
    expect(isAddressAllowed(address, 'public')).toBe(true);
    expect(isAddressAllowed(address, 'private')).toBe(true);
  });

  test.each([...loopbacks, ...privates])('%s only for a host that may be private', (address) => {
    expect(isAddressAllowed(address, 'public')).toBe(false);
    expect(isAddressAllowed(address, 'private')).toBe(true);
  });

  test.each(never)('%j never', (address) => {
    expect(isAddressAllowed(address, 'public')).toBe(false);
    expect(isAddressAllowed(address, 'private')).toBe(false);
  });
});

const lists = { hosts: ['store.example.com:443', '127.0.0.1:9000', '[::1]:9001', 'Other.Example.com:8443'], privateHosts: ['minio:9000'] };
const refused = expect.objectContaining({ code: 'ADDRESS_REFUSED', kind: 'subject' }) as Error;

describe('which URLs are let through (C15)', () => {
  test.each([
    ['https://store.example.com/a/b?X-Amz-Signature=1', 'public'],
    ['https://STORE.example.com:443/', 'public'],
    ['https://other.example.com:8443/', 'public'],
    ['http://minio:9000/x', 'private'],
    ['http://127.0.0.1:9000/x', 'private'],
    ['http://0x7f.1:9000/x', 'private'],
    ['http://[::1]:9001/x', 'private'],
  ])('%s as %s', (text, policy) => {
    expect(parseAllowedUrl(text, lists).policy).toBe(policy);
  });

  test.each([
    'http://store.example.com:443/', 'https://store.example.com:8443/', 'https://store.example.com.evil.org/', 'https://store.example.com./',
    'https://evil.org/?store.example.com:443', 'https://store.example.com@evil.org/', 'https://user:pw@store.example.com/', 'https://user@store.example.com/',
    'http://127.0.0.1:9001/', 'http://127.0.0.2:9000/', 'http://2130706434:9000/', 'http://localhost:9000/', 'http://[::ffff:127.0.0.1]:9000/',
    'http://169.254.169.254/latest/meta-data', 'file:///etc/passwd', 'ftp://store.example.com/', 'gopher://127.0.0.1:9000/', 'data:,x',
    'javascript:0', 'store.example.com', '//store.example.com/', '', 'https://', 'https://store.example.com:443:80/',
  ])('not %j', (text) => {
    expect(() => parseAllowedUrl(text, lists)).toThrow(refused);
  });

  test('an entry without a port, or that is no host, lets nothing through', () => {
    for (const entry of ['store.example.com', '', ':443', 'https://store.example.com:443', '*:443']) {
      expect(() => parseAllowedUrl('https://store.example.com/', { hosts: [entry], privateHosts: [entry] })).toThrow(refused);
    }
  });

  test('a URL is shown without its query, which is a secret', () => {
    expect(showUrl(new URL('https://store.example.com/a/b?X-Amz-Signature=secret#frag'))).toBe('https://store.example.com/a/b');
    const message = (): unknown => parseAllowedUrl('https://evil.org/a?X-Amz-Signature=secret', lists);
    expect(message).toThrow(/evil\.org/u);
    expect(message).not.toThrow(/secret/u);
  });

  test('the address of a literal is seen without its brackets', () => {
    expect(addressOf(new URL('http://[::1]:1/'))).toBe('::1');
    expect(addressOf(new URL('http://0177.1/'))).toBe('127.0.0.1');
    expect(addressOf(new URL('http://example.com/'))).toBeUndefined();
  });
});

describe('the lookup of a socket', () => {
  const look = async (addresses: string[], all: boolean): Promise<unknown> => await new Promise((resolve, reject) => {
    const answers: LookupAddress[] = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    guardedLookup('public', (_, answer) => { answer(null, answers); })('name.example.com', { all }, (error, address) => {
      if (error) reject(error);
      else resolve(address);
    });
  });

  test('passes public answers on, one or all', async () => {
    await expect(look(['1.1.1.1', '2606:4700:4700::1111'], true)).resolves.toHaveLength(2);
    await expect(look(['1.1.1.1'], false)).resolves.toBe('1.1.1.1');
  });

  test.each([[['127.0.0.1']], [['1.1.1.1', '127.0.0.1']], [['1.1.1.1', '::1']], [[]]])('refuses a name that leads to %j', async (addresses) => {
    await expect(look(addresses, true)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
    await expect(look(addresses, false)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
  });
});
