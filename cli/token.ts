import { roles } from '../http/identity.ts';
import { Failure } from '../process/failure.ts';
import { findRunningStack } from '../stack/state-file.ts';
import { command } from './command.ts';
import { issueBearer } from './dev/issuer.ts';
import { devStateDir } from './settings.ts';

export const tokenCommand = command({
  usage: 'token <kind>',
  summary: 'Print a token for the HTTP door of a running `waybill dev`; for development only, no other door takes it',
  examples: [
    ['token operator --role read', 'to look: entitlements, deliveries, dead letters'],
    ['token service --role operate', 'to change what workspaces ask for, as a control plane\'s user interface would'],
  ],
  options: (yargs) => yargs
    .positional('kind', { choices: ['operator', 'service'] as const, demandOption: true, describe: 'Whose token' })
    .option('role', { choices: roles, array: true, default: ['read'] as (typeof roles)[number][], describe: 'A role; may be repeated' })
    .option('subject', { type: 'string', default: 'developer', describe: 'Who it is, for the audit' }),
  run: async ({ kind, role, subject }, { output }) => {
    const stateDir = devStateDir();
    if (findRunningStack(stateDir) === undefined) {
      throw new Failure('input', 'NOT_FOUND', `no \`waybill dev\` of this checkout runs (looked in ${stateDir}): start it with \`npm start\` in another terminal`);
    }
    const token = await issueBearer(stateDir, kind, subject, role, 60);
    output.result({ token }, () => token);
  },
});
