import { parseArgs } from 'node:util';
import { asFailure } from '../process/failure.ts';
import { connectionsAsEnvironment } from './connections.ts';
import { readStackSettings } from './environment.ts';
import { startStack } from './stack.ts';

/**
 * `node stack/main.ts [--state-dir DIR]`: the stack alone, until SIGINT or SIGTERM. Progress goes to standard error;
 * once all is ready, lines of `export NAME='value'` go to standard output, for `source` and for the environment provider.
 */
const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
const asked = new AbortController();
const { promise: end, resolve } = Promise.withResolvers<undefined>();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    asked.abort(new DOMException(`Stopped by ${name}.`, 'AbortError'));
    resolve(undefined);
  });
}

try {
  const { values } = parseArgs({ options: { 'state-dir': { type: 'string' } } });
  const stack = await startStack({ stateDir: values['state-dir'] ?? readStackSettings().stateDir ?? '.waybill/dev', report: say, signal: asked.signal });
  for (const [name, value] of Object.entries(connectionsAsEnvironment(stack.connections))) process.stdout.write(`export ${name}='${value}'\n`);
  say('the stack is ready; Ctrl-C stops it and keeps its data');
  if (stack.provider !== 'environment') {
    await end;
    say('stopping');
  }
  await stack.stop();
} catch (error) {
  if (asked.signal.aborted) {
    say('stopped before it was ready');
    process.exitCode = 130;
  } else {
    const { code, message, cure } = asFailure(error);
    say(`${code}: ${message}\n${cure}`);
    process.exitCode = 1;
  }
}
