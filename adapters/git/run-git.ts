import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

import { wholeEnvironment } from '../../process/config.ts';
import { Failure } from '../../process/failure.ts';

export interface GitOptions {
  /** An empty folder: git's home, so that no configuration, credential or hook of a person or machine is used. */
  readonly home: string;
  readonly signal: AbortSignal;
  /** Further `-c` settings. */
  readonly config?: readonly string[];
}

/** A git command that ended with an error. `stderr` is its text, without credentials: URLs that carry some are refused. */
export class GitError extends Error {
  override readonly name = 'GitError';
  readonly stderr: string;

  constructor(command: string, status: number | null, stderr: string) {
    super(`git ${command} ended with ${status ?? 'a signal'}: ${stderr.trim().slice(0, 1_000)}`);
    this.stderr = stderr;
  }
}

/** Settings of every command: only https and local repositories, no redirects, nothing that runs a program. */
const settings = [
  'protocol.allow=never', 'protocol.https.allow=always', 'protocol.file.allow=always', 'http.followRedirects=false',
  'http.proxy=', 'credential.helper=', 'core.hooksPath=/dev/null', 'core.fsmonitor=false', 'core.askPass=', 'core.alternateRefsCommand=',
  'fetch.recurseSubmodules=false', 'submodule.recurse=false', 'maintenance.auto=false', 'gc.auto=0', 'fetch.writeCommitGraph=false',
  'http.lowSpeedLimit=1', 'http.lowSpeedTime=15',
];

function environment({ home }: GitOptions): NodeJS.ProcessEnv {
  return {
    PATH: wholeEnvironment()['PATH'],
    HOME: home, XDG_CONFIG_HOME: home, LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_ATTR_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: 'true',
    GIT_NO_REPLACE_OBJECTS: '1', GIT_OPTIONAL_LOCKS: '0', GIT_ALLOW_PROTOCOL: 'https:file',
  };
}

/** A running git command: write to it, read from it, and await its end. */
/** A tree of a few kilobytes can list millions of files: 4 GB of memory for 10,000,000 of them (measured). */
const outputBytesMax = 32 * 1024 * 1024;

export interface RunningGit {
  readonly stdout: Readable;
  write(text: string): void;
  end(): void;
  /** Settles when the process has ended. @throws GitError; Failure */
  readonly ended: Promise<void>;
}

/** Starts `git <arguments>`. The first argument is the command; every value from outside stands behind `--` or is an id. */
export function startGit(options: GitOptions, args: readonly string[]): RunningGit {
  const flags = [...settings, ...(options.config ?? [])].flatMap((setting) => ['-c', setting]);
  const child = spawn('git', [...flags, ...args], { cwd: options.home, env: environment(options), stdio: ['pipe', 'pipe', 'pipe'], signal: options.signal });
  const stderr: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => { if (stderr.length < 1_000) stderr.push(chunk); });
  child.stdin.on('error', () => undefined); // a git that ended early says why on stderr
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error) => { reject(asStartFailure(error, options.signal)); });
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new GitError(args[0] ?? '', status, Buffer.concat(stderr).toString('utf8')));
    });
  });
  ended.catch(() => undefined); // awaited after the output was read; until then a failure is not unhandled
  return { stdout: child.stdout, write: (text) => { child.stdin.write(text); }, end: () => { child.stdin.end(); }, ended };
}

/** Runs a git command to its end. @returns its output @throws GitError; Failure */
export async function runGit(options: GitOptions, args: readonly string[], input = ''): Promise<Buffer> {
  const git = startGit(options, args);
  git.write(input);
  git.end();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of git.stdout) {
    chunks.push(chunk as Buffer); // no encoding is set, so chunks are buffers
    bytes += (chunk as Buffer).length;
    // Leaving the loop closes the pipe, which ends git.
    if (bytes > outputBytesMax) throw new Failure('input', 'TOO_LARGE', `git ${args.find((arg) => /^[a-z-]+$/u.test(arg) && !arg.startsWith('-')) ?? ''} says more than ${outputBytesMax} bytes: the repository has more files or branches than a release can come from`);
  }
  await git.ended;
  return Buffer.concat(chunks);
}

function asStartFailure(error: Error, signal: AbortSignal): Error {
  if (signal.aborted) return new Failure('dependency', 'UNAVAILABLE', 'git did not finish within its deadline', { cause: error });
  if ('code' in error && error.code === 'ENOENT') {
    return new Failure('input', 'CONFIG_INVALID', 'git is not installed, or not on the PATH: publishing reads repositories with it', { cause: error });
  }
  return error;
}
