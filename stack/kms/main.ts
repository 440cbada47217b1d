import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createKmsServer } from './server.ts';

/**
 * The local KMS as a process: `node stack/kms/main.ts --folder DIR --port N --region R --credentials FILE`.
 * The credentials of the root come from a private file, since others can read a command line. With --lifeline its standard input is
 * its parent's hand: when that is let go, also by `kill -9`, it ends, so it never outlives a stack.
 */
const { values } = parseArgs({
  options: {
    folder: { type: 'string' },
    port: { type: 'string' },
    region: { type: 'string' },
    credentials: { type: 'string' },
    lifeline: { type: 'boolean', default: false },
  },
  // The mark of the stack is on the command line too.
  strict: false,
});
const { folder, port, region, credentials } = values;
if (typeof folder !== 'string' || typeof port !== 'string' || typeof region !== 'string' || typeof credentials !== 'string') {
  process.stderr.write('Usage: node stack/kms/main.ts --folder DIR --port N --region R --credentials FILE [--lifeline]\n');
  process.exit(2);
}

// Written by the stack, which gave us its name.
const root = JSON.parse(readFileSync(credentials, 'utf8')) as { accessKeyId: string; secretAccessKey: string };
const server = createKmsServer({ folder, region, root });
server.once('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
server.listen({ host: '127.0.0.1', port: Number(port) });

// Every answered change is on disk already: there is nothing to finish.
const end = (): never => process.exit(0);
process.once('SIGTERM', end);
process.once('SIGINT', end);
if (values.lifeline === true) process.stdin.resume().once('close', end);
