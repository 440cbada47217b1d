import type { HostLists } from './adapters/guarded-fetch/allowed-hosts.ts';
import { createGuardedFetch } from './adapters/guarded-fetch/guarded-fetch.ts';
import type { ReleaseLimits } from './catalogue/limits.ts';
import type { PlatformTokenOptions } from './delivery/sources/platform-token.ts';
import type { Config, SettingName } from './process/config.ts';

/** Where the bytes of releases come from, and what bounds them. */
export const limitSettings = ['packedBytesMax', 'archiveBytesMax', 'ratioMax', 'filesMax', 'entryBytesMax'] as const satisfies readonly (SettingName & keyof ReleaseLimits)[];
export const gitSettings = ['gitArchives', 'gitArchiveBytesMax', 'platformToken', 'platformRepositories'] as const satisfies readonly SettingName[];

export const limitsOf = ({ packedBytesMax, archiveBytesMax, ratioMax, filesMax, entryBytesMax }: Config<(typeof limitSettings)[number]>): ReleaseLimits =>
  ({ packedBytesMax, archiveBytesMax, ratioMax, filesMax, entryBytesMax });

export const gitOf = ({ gitArchives, gitArchiveBytesMax, platformToken, platformRepositories }: Config<(typeof gitSettings)[number]>): Omit<PlatformTokenOptions, 'fetcher' | 'limits'> =>
  ({ archives: gitArchives, bytesMax: gitArchiveBytesMax, platformToken, repositories: platformRepositories });

/**
 * Where releases may be fetched from (C15): the store and the archives of git hosts, whose names may lead to public addresses
 * alone, and what is listed. A store at a private address is named by that address, or its name is listed.
 */
export const fetchListsOf = ({ s3Endpoint, gitArchives, fetchHosts }: Config<'fetchHosts' | 'gitArchives'> & Partial<Config<'s3Endpoint'>>): HostLists => ({
  hosts: [...(s3Endpoint === undefined ? [] : [s3Endpoint]), ...gitArchives.map(({ url }) => url)].map(hostOf), privateHosts: fetchHosts,
});

/** host:port of a URL, the port said even where it is the protocol's own. */
export function hostOf(endpoint: string): string {
  const url = new URL(endpoint);
  return `${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`;
}

/** The sources beside the store, for a look at one release. */
export function wireSources(
  config: Config<(typeof limitSettings)[number] | (typeof gitSettings)[number] | 'fetchHosts' | 'fetchTimeoutMs' | 'fetchIdleMs'>,
): { readonly options: PlatformTokenOptions } & AsyncDisposable {
  const fetcher = createGuardedFetch({ ...fetchListsOf(config), timeoutMs: config.fetchTimeoutMs, idleMs: config.fetchIdleMs });
  return { options: { ...gitOf(config), fetcher, limits: limitsOf(config) }, [Symbol.asyncDispose]: async () => { await fetcher.close(); } };
}
