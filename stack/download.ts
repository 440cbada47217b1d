import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Failure } from '../process/failure.ts';
import { childEnvironment } from './environment.ts';
import { partFolder, type Part } from './parts.ts';
import { atExit, signalQuietly } from './processes.ts';
import { lastLines } from './service.ts';

export interface Download {
  cacheDir: string;
  /** Path of `mvn`; undefined when there is none, which is a fault only if something is missing. */
  maven: string | undefined;
  logDir: string;
  report: (line: string) => void;
  signal: AbortSignal;
}

const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies';
const temporaryPrefix = '.download-';
const progressEveryMs = 3_000;
const abandonedAfterMs = 24 * 3_600_000;

/**
 * Makes sure that the cache holds a part. Out: its folder. Complete or absent: it is built beside and renamed into place,
 * so two checkouts may do this at once. Throws DOWNLOAD_FAILED, JAVA_MISSING (no Maven), the reason of an abort.
 */
export async function fetchPart(part: Part, download: Download): Promise<string> {
  const { cacheDir, maven, report, signal } = download;
  const folder = partFolder(cacheDir, part);
  if (existsSync(folder)) return folder;
  if (maven === undefined) throw new Failure('input', 'JAVA_MISSING', `Maven is needed to download ${part.name} ${part.version} into ${cacheDir}, and no mvn was found on the PATH.`);
  await mkdir(cacheDir, { recursive: true });
  await removeAbandoned(cacheDir);
  const temporary = await mkdtemp(join(cacheDir, temporaryPrefix));
  try {
    report(`${part.name} ${part.version}: downloading about ${String(part.megabytes)} MB, once, into ${cacheDir}`);
    const started = Date.now();
    await writeFile(join(temporary, 'pom.xml'), part.pom);
    const log = join(download.logDir, `download-${part.name}.log`);
    // Maven's local repository is not made for several writers at once; a collision is gone at the second attempt.
    const code = (await runMaven(maven, part, temporary, log, download)) && (await runMaven(maven, part, temporary, log, download));
    if (code !== 0) {
      throw new Failure('dependency', 'DOWNLOAD_FAILED', `Maven could not download ${part.name} ${part.version} (exit code ${String(code)}). Its log: ${log}\n${lastLines(log)}`);
    }
    const made = join(temporary, 'files');
    if (part.unpack) await unpack(made, signal);
    await rename(made, folder).catch(async (error: unknown) => {
      // Somebody else was first: theirs is the same.
      if (!existsSync(folder)) throw error;
      await rm(made, { recursive: true, force: true });
    });
    report(`${part.name} ${part.version}: downloaded in ${seconds(started)}`);
    return folder;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function runMaven(maven: string, part: Part, folder: string, log: string, { report, signal }: Download): Promise<number> {
  signal.throwIfAborted();
  const child = spawn(maven, ['--batch-mode', '--strict-checksums', plugin, `-DoutputDirectory=${join(folder, 'files')}`], {
    cwd: folder,
    env: childEnvironment(),
    // A group of its own: `mvn` is a shell script, and its Java has to go with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = (): void => {
    if (child.pid !== undefined) signalQuietly(-child.pid, 'SIGTERM');
  };
  signal.addEventListener('abort', stop);
  const forget = atExit(stop);
  const output = createWriteStream(log, { flags: 'w', mode: 0o600 });
  const started = Date.now();
  let files = 0;
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (/Downloaded from .*\.(?:jar|tar\.gz) \(/.test(line)) files += 1;
  });
  const progress = setInterval(() => {
    // Maven's own plugins are among them, so there is no total to compare with.
    report(`${part.name} ${part.version}: ${String(files)} files so far, ${seconds(started)}`);
  }, progressEveryMs);
  const { promise, resolve } = Promise.withResolvers<number>();
  child.once('error', () => {
    resolve(127);
  });
  child.once('close', (code) => {
    resolve(code ?? 1);
  });
  try {
    const code = await promise;
    signal.throwIfAborted();
    return code;
  } finally {
    clearInterval(progress);
    signal.removeEventListener('abort', stop);
    forget();
    await new Promise<void>((done) => {
      output.end(done);
    });
  }
}

/** Replaces the one tar.gz in a folder by what is in it. */
async function unpack(folder: string, signal: AbortSignal): Promise<void> {
  const archive = (await readdir(folder)).find((name) => name.endsWith('.tar.gz'));
  if (archive === undefined) throw new Failure('dependency', 'DOWNLOAD_FAILED', `Maven reported success, but there is no .tar.gz in ${folder}.`);
  const file = join(folder, archive);
  const child = spawn('tar', ['-xzf', '-', '-C', folder], { stdio: ['pipe', 'ignore', 'ignore'], signal });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  createReadStream(file).pipe(child.stdin).on('error', reject);
  const code = await promise;
  if (code !== 0) throw new Failure('dependency', 'DOWNLOAD_FAILED', `tar could not unpack ${archive} (exit code ${String(code)}). Delete it from Maven's local repository and start again.`);
  await rm(file);
}

/** Removes what a killed download left behind. */
async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith(temporaryPrefix)) continue;
    const path = join(cacheDir, name);
    const age = Date.now() - (await stat(path).then((found) => found.mtimeMs, () => Date.now()));
    if (age > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}

const seconds = (since: number): string => `${((Date.now() - since) / 1000).toFixed(1)} s`;
