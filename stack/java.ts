import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const minimalJava = 17;

export interface Java {
  path: string;
  major: number;
  /** What `java -version` says, one line. */
  version: string;
  /** Short digest of the JVM: class archives of one JVM are refused by another. */
  digest: string;
}

/** The Java found in JAVA_HOME or on the PATH, whatever its version; undefined when there is none. */
export async function findJava(javaHome: string | undefined, path: string): Promise<Java | undefined> {
  const file = await findExecutable('java', [...(javaHome === undefined ? [] : [join(javaHome, 'bin')]), ...path.split(delimiter)]);
  if (file === undefined) return undefined;
  try {
    const { stdout, stderr } = await run(file, ['-version'], { timeout: 20_000 });
    const text = `${stdout}${stderr}`;
    // "1.8.0_392" was the old style; since 9 it is "17.0.15" or "25".
    const found = /version "(?:1\.)?(\d+)[^"]*"/.exec(text);
    if (found === null) return undefined;
    return { path: file, major: Number(found[1]), version: found[0], digest: createHash('sha256').update(`${file}\n${text}`).digest('hex').slice(0, 12) };
  } catch {
    return undefined;
  }
}

/** The path of `mvn`, or undefined. */
export async function findMaven(path: string): Promise<string | undefined> {
  return await findExecutable('mvn', path.split(delimiter));
}

/** The first file of that name that we may run, in these folders in this order. */
export async function findExecutable(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    if (folder === '') continue;
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      if ((await stat(file)).isFile()) return file;
    } catch {
      // Not in this folder: the next one.
    }
  }
  return undefined;
}
