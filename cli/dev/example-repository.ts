import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { wholeEnvironment } from '../../process/config.ts';

const run = promisify(execFile);

/** Where the examples stand in this checkout. */
const examples = resolve(import.meta.dirname, '..', '..', 'examples');

/** Author, committer and moment never change, so the commit id says what the content is and nothing else. */
const identity = { name: 'waybill examples', email: 'examples@waybill.invalid', date: '2026-01-01T00:00:00Z' };

export interface ExampleRepository {
  /** A clone with a work tree, its default branch main. */
  readonly path: string;
  readonly commit: string;
}

/** Makes a real git repository of the examples' content, anew at every start: equal content, equal commit id. */
export async function makeExampleRepository(path: string, signal: AbortSignal): Promise<ExampleRepository> {
  const building = `${path}.new`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  for (const folder of ['templates', 'plugins']) cpSync(join(examples, folder), join(building, folder), { recursive: true });
  const git = async (...args: string[]): Promise<string> => {
    const { stdout } = await run('git', ['-c', 'core.autocrlf=false', '-c', 'commit.gpgsign=false', ...args], { cwd: building, env: environment(), signal });
    return stdout.trim();
  };
  await git('init', '--quiet', '--template=', '--initial-branch=main');
  await git('add', '--all');
  await git('commit', '--quiet', '--message', 'The examples');
  const commit = await git('rev-parse', 'HEAD');
  rmSync(path, { recursive: true, force: true });
  renameSync(building, path);
  return { path, commit };
}

/** Nothing of the user's own git configuration: no hooks, no templates, no signing. */
function environment(): NodeJS.ProcessEnv {
  return {
    PATH: wholeEnvironment()['PATH'], GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', LC_ALL: 'C',
    GIT_AUTHOR_NAME: identity.name, GIT_AUTHOR_EMAIL: identity.email, GIT_AUTHOR_DATE: identity.date,
    GIT_COMMITTER_NAME: identity.name, GIT_COMMITTER_EMAIL: identity.email, GIT_COMMITTER_DATE: identity.date,
  };
}
