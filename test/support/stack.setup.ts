import { resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { StackConnections } from '../../stack/connections.ts';
import { readStackSettings } from '../../stack/environment.ts';
import { chooseProvider, inspectTools } from '../../stack/provider.ts';
import { startStack, type Stack } from '../../stack/stack.ts';
import { startContainerStack } from './container-stack.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The services that all integration tests of a run share. */
    stack: StackConnections;
  }
}

const report = (line: string): void => {
  process.stderr.write(`[stack] ${line}\n`);
};

let stack: Stack | undefined;

/** Once a run: the stack of the tests, apart from the one of `npm start`, or the services that the environment names. */
export async function setup(project: TestProject): Promise<void> {
  const stateDir = resolve('.waybill/test');
  const settings = readStackSettings();
  const provider = chooseProvider(settings, await inspectTools(settings));
  stack = provider === 'docker' ? await startContainerStack(stateDir, report) : await startStack({ stateDir, report, durable: false });
  project.provide('stack', stack.connections);
}

export async function teardown(): Promise<void> {
  await stack?.stop();
}
