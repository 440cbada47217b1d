import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { settings, wholeEnvironment } from '../process/config.ts';
import { portVariables, readStackSettings } from '../stack/environment.ts';
import { dockerFault, howToInstall, inspectTools, nativeFaults } from '../stack/provider.ts';
import { findRunningStack } from '../stack/state-file.ts';
import { awaitServices } from '../stack/reachable.ts';
import { command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import type { Output } from './output.ts';
import { devStateDir } from './settings.ts';

interface Finding {
  readonly check: string;
  /** ok: as it should be. note: worth knowing. missing: something will not work. */
  readonly state: 'ok' | 'note' | 'missing';
  readonly detail: string;
  readonly cure: string | null;
}

const ok = (check: string, detail: string): Finding => ({ check, state: 'ok', detail, cure: null });

/** Variables that the local stack reads and no command does. */
const stackVariables = new Set<string>(['WAYBILL_CACHE', 'WAYBILL_STACK', 'WAYBILL_STATE_DIR', ...Object.values(portVariables)]);

const run = promisify(execFile);

async function checkTools(): Promise<Finding[]> {
  const stackSettings = readStackSettings();
  const tools = await inspectTools(stackSettings);
  const faults = nativeFaults(tools);
  const native = faults.length === 0;
  const docker = tools.docker === 'ready';
  return [
    ...(stackSettings.named === undefined ? [] : [ok('services', 'the environment names running services; none are started')]),
    ...faults.map((fault): Finding => ({ check: 'native stack', state: docker || stackSettings.named !== undefined ? 'note' : 'missing', detail: fault, cure: howToInstall })),
    ...(native ? [ok('native stack', `${tools.java?.path ?? 'java'} ${tools.java?.version ?? ''}, ${tools.maven ?? 'everything downloaded'}`)] : []),
    docker ? ok('docker', dockerFault.ready) : { check: 'docker', state: 'note', detail: dockerFault[tools.docker], cure: native ? null : 'Install Docker with compose 2, or what the native stack lacks.' },
    tools.missing.length === 0
      ? ok('downloads', `everything is in ${stackSettings.cacheDir}`)
      : { check: 'downloads', state: 'note', detail: `${tools.missing.map(({ name, version }) => `${name} ${version}`).join(', ')} will be downloaded into ${stackSettings.cacheDir} (${String(tools.missing.reduce((sum, { megabytes }) => sum + megabytes, 0))} MB)`, cure: null },
  ];
}

async function checkGit(): Promise<Finding> {
  try {
    const { stdout } = await run('git', ['--version']);
    return ok('git', stdout.trim());
  } catch {
    return { check: 'git', state: 'missing', detail: 'git is not on the PATH, and releases are read from git repositories', cure: 'Debian, Ubuntu: apt-get install git. Fedora: dnf install git. macOS: xcode-select --install.' };
  }
}

async function checkRunning(): Promise<Finding> {
  const stateDir = devStateDir();
  const running = findRunningStack(stateDir);
  if (running === undefined) return { check: 'waybill dev', state: 'note', detail: `not running in ${stateDir}`, cure: 'Start it with `npm start`.' };
  try {
    await awaitServices(running, AbortSignal.timeout(5_000));
    return ok('waybill dev', `running, and its services answer (${stateDir})`);
  } catch (error) {
    return { check: 'waybill dev', state: 'missing', detail: `running, but a service does not answer: ${error instanceof Error ? error.message : String(error)}`, cure: `Look at ${stateDir}/logs, or stop it and start it anew.` };
  }
}

/** A misspelt variable would be ignored without a word. */
function checkVariables(): Finding[] {
  const known = new Set<string>([...Object.values(settings).flatMap(({ variable }) => [variable, `${variable}_FILE`]), ...stackVariables]);
  return Object.keys(wholeEnvironment()).filter((name) => name.startsWith('WAYBILL_') && !known.has(name)).map((name): Finding => ({
    check: 'environment', state: 'note', detail: `${name} is set, and nothing reads it`, cure: 'See docs/configuration.md for the names.',
  }));
}

const marks: Readonly<Record<Finding['state'], (output: Output) => string>> = {
  ok: (output) => output.style('green', '✓'),
  note: (output) => output.style('yellow', '·'),
  missing: (output) => output.style('red', '✗'),
};

export const doctorCommand = command({
  usage: 'doctor',
  summary: 'Say what this machine lacks for a local stack, and how to get it',
  examples: [['doctor', 'exit code 1 when something is missing']],
  options: (yargs) => yargs,
  run: async (_args, { output }) => {
    const platform = process.platform === 'linux' ? ok('platform', `${process.platform} ${process.arch}, Node ${process.version}`)
      : { check: 'platform', state: 'missing', detail: `${process.platform}: deliveries work on Linux volumes only`, cure: 'Run it on Linux, or in a container or virtual machine with it.' } satisfies Finding;
    const findings = [platform, await checkGit(), ...(await checkTools()), await checkRunning(), ...checkVariables()];
    output.result(findings, (all) => all.map(({ check, state, detail, cure }) =>
      `${marks[state](output)} ${check.padEnd(12)}  ${detail}${cure === null ? '' : `\n    → ${cure}`}`).join('\n'));
    return findings.some(({ state }) => state === 'missing') ? exitCodes.failed : exitCodes.ok;
  },
});
