import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Java } from './java.ts';
import { identify } from './processes.ts';

/**
 * Class-data sharing: a JVM that finds its parsed classes in an archive starts in about 2 s instead of 5 to 15.
 * The first run of a service writes the archive when it is stopped (2 to 4 s more, once); it is renamed into the cache then,
 * so that no JVM ever opens half of one. A JVM that cannot use it ignores it.
 */
export interface ClassArchive {
  /** JVM options: use the archive, or write one at the end. */
  options: string[];
  /** Whether this run writes the archive. */
  writes: boolean;
  /** After the JVM has ended: put a written archive into place. */
  settle(): void;
  /** After a start that failed: what was written knows half of the classes. */
  discard(): void;
}

const quiet = ['-Xshare:auto', '-Xlog:disable', '-Xlog:all=error:stderr', '-Xlog:cds=off', '-Xlog:cds+dynamic=off'];

/** In: the folder of a part, its JVM. An archive belongs to one JVM and one class path. */
export function classArchive(folder: string, java: Java): ClassArchive {
  const file = join(folder, `classes-${java.digest}.jsa`);
  if (existsSync(file)) return { options: [...quiet, `-XX:SharedArchiveFile=${file}`], writes: false, settle: () => undefined, discard: () => undefined };
  removeAbandoned(folder);
  const temporary = `${file}.${String(process.pid)}.tmp`;
  return {
    options: [...quiet, `-XX:ArchiveClassesAtExit=${temporary}`],
    writes: true,
    settle() {
      if (!existsSync(temporary)) return;
      if (existsSync(file)) rmSync(temporary);
      else renameSync(temporary, file);
    },
    discard() {
      rmSync(temporary, { force: true });
    },
  };
}

/** Archives that were never settled because their stack was killed. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /\.(\d+)\.tmp$/.exec(name)?.[1];
    if (pid !== undefined && identify(Number(pid)) === undefined) rmSync(join(folder, name), { force: true });
  }
}

/** Class path of a folder of jars. Sorted: the archive is only good for the very same order. */
export function classPath(folder: string): string {
  return readdirSync(folder).filter((name) => name.endsWith('.jar')).toSorted().map((name) => join(folder, name)).join(':');
}
