import { execFile } from 'node:child_process';
import { delimiter } from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../process/failure.ts';
import type { ProviderName, StackSettings } from './environment.ts';
import { findExecutable, findJava, findMaven, minimalJava, type Java } from './java.ts';
import { missingParts, type Part } from './parts.ts';

const run = promisify(execFile);

/** What this machine has to start a stack with. */
export interface Tools {
  java: Java | undefined;
  maven: string | undefined;
  /** Parts that are not in the cache: without any, Maven is not needed. */
  missing: Part[];
  docker: 'ready' | 'no command' | 'no compose' | 'no engine';
}

export async function inspectTools(settings: StackSettings): Promise<Tools> {
  const [java, maven, docker] = await Promise.all([findJava(settings.javaHome, settings.path), findMaven(settings.path), inspectDocker(settings.path)]);
  return { java, maven, missing: missingParts(settings.cacheDir), docker };
}

async function inspectDocker(path: string): Promise<Tools['docker']> {
  const docker = await findExecutable('docker', path.split(delimiter));
  if (docker === undefined) return 'no command';
  const works = async (...args: string[]): Promise<boolean> => await run(docker, args, { timeout: 10_000 }).then(() => true, () => false);
  const [compose, engine] = await Promise.all([works('compose', 'version'), works('version', '--format', '{{.Server.Version}}')]);
  if (!engine) return 'no engine';
  return compose ? 'ready' : 'no compose';
}

/** The first provider that is possible, or the one that is forced. Throws JAVA_MISSING with all that was looked for. */
export function chooseProvider(settings: StackSettings, tools: Tools): ProviderName {
  const { forced, named } = settings;
  if (named !== undefined) return 'environment';
  const native = nativeFaults(tools);
  if (forced !== 'docker' && native.length === 0) return 'native';
  if (forced !== 'native' && tools.docker === 'ready') return 'docker';
  throw new Failure('input', 'JAVA_MISSING', missingText(forced, native, tools));
}

/** What keeps the native provider from starting; empty when nothing does. */
export function nativeFaults({ java, maven, missing }: Tools): string[] {
  const faults: string[] = [];
  if (process.platform === 'win32') faults.push('The native stack runs on Linux and macOS; on Windows use Docker or WSL.');
  if (java === undefined) faults.push(`Java ${String(minimalJava)} or newer: no java in JAVA_HOME or on the PATH.`);
  else if (java.major < minimalJava) faults.push(`Java ${String(minimalJava)} or newer: ${java.path} is ${java.version}.`);
  if (maven === undefined && missing.length > 0) {
    faults.push(`Maven: no mvn on the PATH, and it is needed once to download ${missing.map(({ name, version }) => `${name} ${version}`).join(', ')}.`);
  }
  return faults;
}

export const dockerFault: Record<Tools['docker'], string> = {
  ready: 'Docker is ready.',
  'no command': 'Docker: no docker on the PATH.',
  'no engine': 'Docker: the docker command is there, but no engine answers it.',
  'no compose': 'Docker: the engine answers, but `docker compose` (version 2) is not installed.',
};

export const howToInstall =
  'Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven. Fedora: dnf install java-21-openjdk-headless maven. macOS: brew install openjdk maven.';

function missingText(forced: ProviderName | undefined, native: string[], { docker }: Tools): string {
  const lines = forced === 'docker' ? [dockerFault[docker]] : forced === 'native' ? native : [...native, dockerFault[docker]];
  const forcedText = forced === undefined ? '' : ` (WAYBILL_STACK=${forced} forbids another way)`;
  return [
    `The local stack cannot be started here${forcedText}. Missing:`,
    ...lines.map((line) => `  - ${line}`),
    ...(forced === 'docker' ? [] : [`Install what is missing: ${howToInstall}`]),
    ...(forced === undefined ? ['Or install Docker with compose 2, or name running services in the environment (docs/stack.md).'] : []),
  ].join('\n');
}
