import { closeSync, existsSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { readConfig } from '../process/config.ts';
import { asFailure } from '../process/failure.ts';
import { runTogether } from '../process/lifecycle.ts';
import { createLogger, type Logger } from '../process/log.ts';
import { lockStack } from '../stack/lock.ts';
import { startStack, type Stack } from '../stack/stack.ts';
import { prepareStateDir, publishRunning, withdrawRunning } from '../stack/state-file.ts';
import { command } from './command.ts';
import { companySettings, openCompany } from './dev/company.ts';
import { prepareDevIssuer } from './dev/issuer.ts';
import { prepareDevKeys } from './dev/key-list.ts';
import { Narrator } from './dev/narrator.ts';
import { whatNext } from './dev/next.ts';
import { prepare, preparationSettings } from './dev/prepare.ts';
import type { ExampleRepository } from './dev/example-repository.ts';
import { Scene } from './dev/scene.ts';
import { playStory, type Cast } from './dev/story.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import type { Output } from './output.ts';
import { devEnvironment, devStateDir } from './settings.ts';

export const devCommand = command({
  usage: 'dev',
  summary: 'Bring everything up on this machine and tell the story of a delivery',
  examples: [
    ['dev', 'services, roles and examples, until Ctrl-C; commands in a second terminal find them'],
    ['dev --once', 'tells the story and ends: exit code 0 when all of it came true'],
  ],
  options: (yargs) => yargs.option('once', { type: 'boolean', default: false, describe: 'End after the story' }),
  run: async ({ once }, { output, signal }) => {
    const stateDir = devStateDir();
    const started = performance.now();
    const stack = await startStack({ stateDir, report: (line) => { output.note(line); }, signal });
    const narrator = new Narrator(output);
    const hide = stack.provider === 'environment' ? showRunning(stateDir, stack) : () => undefined;
    try {
      narrator.done('services', [`Kafka, registry, S3, PostgreSQL, KMS (${stack.provider})`], performance.now() - started);
      return await runDev({ stack, stateDir, once, output, narrator, signal });
    } finally {
      output.note('stopping');
      hide();
      await stack.stop();
    }
  },
});

/** Services that the environment names are shown to a second terminal as our own would be. Returns the end of it. */
function showRunning(stateDir: string, stack: Stack): () => void {
  const prepared = prepareStateDir(stateDir);
  const lock = lockStack(prepared.stateDir);
  publishRunning(prepared.stateDir, stack.provider, stack.connections);
  return () => {
    withdrawRunning(prepared.stateDir);
    lock.release();
  };
}

interface DevRun {
  readonly stack: Stack;
  readonly stateDir: string;
  readonly once: boolean;
  readonly output: Output;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
}

async function runDev({ stack, stateDir, once, output, narrator, signal }: DevRun): Promise<ExitCode> {
  prepareDevIssuer(stateDir);
  prepareDevKeys(stateDir);
  const config = readConfig([...preparationSettings, ...companySettings, 'logLevel'], devEnvironment(stack.connections, stateDir));
  const logFile = join(stateDir, 'logs', 'roles.log');
  mkdirSync(join(stateDir, 'logs'), { recursive: true });
  mkdirSync(config.volumesRoot, { recursive: true, mode: 0o700 });
  // The run before stays readable: whoever starts again may want to know why it ended.
  if (existsSync(logFile)) renameSync(logFile, join(stateDir, 'logs', 'roles.previous.log'));
  const file = openSync(logFile, 'w', 0o600);
  const log = (role: string): Logger => createLogger(config.logLevel, role, file);
  try {
    const repository = await prepare(config, stateDir, narrator, log('prepare'), signal);
    let scene: Scene | undefined;
    await using company = openCompany(config, stateDir, log, (event) => { scene?.hear(event); });
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, ended.signal]);
    scene = new Scene({ ...company, volumes: config.volumesRoot, logFile }, stop);
    const roles = runTogether(company.runnables, stop, { log: log('dev') });
    // A role that cannot go on ends the story at once; it is reported by the last await.
    roles.catch(() => { ended.abort(); });

    const code = await tell(scene, { output, narrator, repository, logFile, stop, once, door: company.door });
    if (once || signal.aborted) ended.abort();
    await roles;
    return code === exitCodes.ok && once && signal.aborted ? exitCodes.interrupted : code;
  } finally {
    closeSync(file);
  }
}

interface Telling {
  readonly output: Output;
  readonly narrator: Narrator;
  readonly repository: ExampleRepository;
  readonly logFile: string;
  readonly stop: AbortSignal;
  readonly once: boolean;
  /** Address of the HTTP door, once it listens. */
  readonly door: () => string;
}

/** The story, or what went wrong with it. */
async function tell(scene: Scene, { output, narrator, repository, logFile, stop, once, door }: Telling): Promise<ExitCode> {
  let cast: Cast;
  try {
    cast = await playStory(scene, narrator, output);
  } catch (error) {
    if (stop.aborted) return exitCodes.interrupted;
    narrator.failed('the story', asFailure(error));
    output.line(`The roles log to ${logFile}, the services to the files beside it.`);
    return exitCodes.failed;
  }
  if (once) return exitCodes.ok;
  narrator.chapter('It keeps running until Ctrl-C. In a second terminal, in this folder:');
  for (const { command: line, meaning } of whatNext(cast, repository)) output.line(`  ${output.style('dim', `${meaning}:`)}\n    ${line}`);
  output.line();
  output.line(`  HTTP door        ${door()}  its reference: ${door()}/docs`);
  output.line(`  delivered files  ${join(scene.stage.volumes, cast.online)}`);
  output.line(`  logs             ${logFile}`);
  return exitCodes.ok;
}
