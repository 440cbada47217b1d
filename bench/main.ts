import { parseArgs } from 'node:util';

import { asFailure } from '../process/failure.ts';
import { benchDeliveries } from './deliveries.ts';
import { benchEntitlements } from './entitlements.ts';
import { benchReplay } from './replay.ts';
import { benchFanOut } from './fan-out.ts';
import { benchRevoke } from './revoke.ts';

/**
 * `npm run bench -- <name> [--json] [--rounds N] [--events N]`: a readable table on standard output; with `--json` the last
 * line is one object {name, ratios, …}. Progress goes to standard error.
 */
const benches = { entitlements: benchEntitlements, deliveries: benchDeliveries, replay: benchReplay, 'fan-out': benchFanOut, revoke: benchRevoke };

const { values, positionals: [name = ''] } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, rounds: { type: 'string', default: '5' }, events: { type: 'string', default: '60000' } },
});

const isBench = (text: string): text is keyof typeof benches => Object.hasOwn(benches, text);

if (isBench(name)) {
  try {
    const { table, result } = await benches[name]({
      rounds: Number(values.rounds),
      events: Number(values.events),
      say: (line) => { process.stderr.write(`${line}\n`); },
    });
    process.stdout.write(`${table}\n`);
    if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  } catch (thrown) {
    const failure = asFailure(thrown);
    process.stderr.write(`${failure.code}: ${failure.message}\n${failure.cure}\n`);
    process.exitCode = 1;
  }
} else {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--json] [--rounds N] [--events N]\n`);
  process.exitCode = 2;
}
