import { basename, dirname } from 'node:path';

import type { Location } from './location.ts';
import { GitError, runGit, type GitOptions } from './run-git.ts';

/**
 * How a repository is named in a signed manifest and the audit: by its https URL. A local one by the https URL of its
 * origin, without anything that could be a credential, else by the name of its folder; its path stays here.
 */
export async function publicName(git: GitOptions, location: Location): Promise<string> {
  if (location.kind === 'https') return location.url;
  const folder = basename(location.url) === '.git' ? dirname(location.url) : location.url;
  return asPublicUrl(await originOf(git, location.url)) ?? basename(folder);
}

async function originOf(git: GitOptions, path: string): Promise<string> {
  try {
    return (await runGit(git, ['-C', path, 'config', '--get', 'remote.origin.url'])).toString('utf8').trim();
  } catch (error) {
    if (error instanceof GitError) return ''; // no origin
    throw error;
  }
}

function asPublicUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, host, pathname } = new URL(text);
  return protocol === 'https:' ? `https://${host}${pathname}` : undefined;
}
