import { isIP } from 'node:net';

import { Failure } from '../../process/failure.ts';
import type { AddressPolicy } from './address-policy.ts';

export interface HostLists {
  /** `host:port` pairs that may be fetched from. A name leads to public addresses only; an address means itself. */
  readonly hosts: readonly string[];
  /** `host:port` pairs that may be fetched from although their address is private. */
  readonly privateHosts: readonly string[];
}

/** A URL that may be dialled, and what its name may lead to. */
export interface AllowedUrl {
  readonly url: URL;
  readonly policy: AddressPolicy;
}

/**
 * Text → a URL of a host on the lists (C15). The URL parser has already read every spelling of an address, so `0x7f.1` is
 * compared as 127.0.0.1. Plain http only where the address is private: what is public is encrypted.
 * @throws Failure subject ADDRESS_REFUSED
 */
export function parseAllowedUrl(text: string, lists: HostLists): AllowedUrl {
  if (!URL.canParse(text)) throw refused('the URL cannot be read');
  const url = new URL(text);
  const shown = showUrl(url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused(`${shown} is neither https nor http`);
  if (url.username !== '' || url.password !== '') throw refused(`${shown} carries credentials in its host`);
  const port = portOf(url);
  const isPrivate = isListed(lists.privateHosts, url.hostname, port);
  if (!isPrivate && !isListed(lists.hosts, url.hostname, port)) throw refused(`${url.hostname}:${port} is not on the allowlist`);
  const policy = isPrivate || isAddress(url) ? 'private' : 'public';
  if (url.protocol === 'http:' && policy === 'public') throw refused(`${shown} is not encrypted`);
  return { url, policy };
}

/** A URL for messages: never its query, which is the secret of a signed one. */
export function showUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** The address of a URL whose host is one, without brackets; undefined for a name. */
export function addressOf(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[(?<address>.*)\]$/u, '$<address>');
  return isIP(host) === 0 ? undefined : host;
}

const isAddress = (url: URL): boolean => addressOf(url) !== undefined;

/** Whether a list of `host:port` pairs has this host, as the URL parser spells it. */
export function isListed(list: readonly string[], hostname: string, port: number): boolean {
  return list.map(normalized).includes(`${hostname}:${port}`);
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

/** An entry of a list as the URL parser would have it; one without a port, or that is no host, matches nothing. */
function normalized(entry: string): string {
  const port = /:(?<port>\d{1,5})$/u.exec(entry)?.groups?.['port'];
  return port !== undefined && URL.canParse(`http://${entry}`) ? `${new URL(`http://${entry}`).hostname}:${Number(port)}` : '';
}

function refused(reason: string): Failure {
  return new Failure('subject', 'ADDRESS_REFUSED', `The fetch is refused: ${reason}`);
}
