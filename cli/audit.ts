import { verifyAudit, type AuditVerdict } from '../process/audit-verify.ts';
import { Failure } from '../process/failure.ts';
import { codes } from '../schemas/codes.ts';
import { wireAuditHeads } from '../wire-audit.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

/** Rest between two lines of progress, in milliseconds. */
const sayEveryMs = 1_000;

const verify = command({
  usage: 'verify',
  summary: 'Hold the audit against the chain that was published, and name every row that was removed, edited or moved',
  examples: [
    ['audit verify', 'all of it; exit code 5 when something was altered'],
    ['audit verify --from 100001 --json', 'from a position on, for a machine'],
  ],
  options: (yargs) => yargs.option('from', { type: 'number', default: 1, describe: 'First position of the chain to look at' }),
  run: async ({ from }, { output, signal }) => {
    if (!Number.isSafeInteger(from) || from < 1) throw new Failure('input', 'USAGE', `--from should be a position from 1 on, but is ${from}`);
    const config = readSettings(settingsOf.chainer);
    await using own = wireDatabase(config, 'audit', 1);
    using heads = wireAuditHeads(config);
    const startedAt = performance.now();
    let sayAt = startedAt + sayEveryMs;
    const verdict = await verifyAudit({
      database: own, heads, from, signal,
      onProgress: ({ position, of }) => {
        const now = performance.now();
        if (now < sayAt) return;
        sayAt = now + sayEveryMs;
        output.note(`${position}/${of} ${((100 * position) / Math.max(of, 1)).toFixed(1)} % · ${Math.round(((position - from + 1) * 1_000) / (now - startedAt))} rows/s`);
      },
    });
    output.result(verdict, describe);
    return verdict.problems === 0 ? exitCodes.ok : exitCodes.guarded;
  },
});

function describe({ from, to, sealedTo, unsealed, waiting, problems, shown }: AuditVerdict): string {
  return [
    problems === 0 ? `the audit is what was published: positions ${from} to ${sealedTo}` : `AUDIT_ALTERED: ${problems} found in positions ${from} to ${to}`,
    ...(unsealed > 0 ? [`linked behind it and not published yet: ${unsealed}`] : []),
    ...(waiting > 0 ? [`not linked yet: ${waiting}`] : []),
    ...(problems === 0 ? [] : [table(['kind', 'position', 'row', 'detail'], shown)]),
    ...(problems > shown.length ? [`and ${problems - shown.length} more`] : []),
    ...(problems === 0 ? [] : [codes.AUDIT_ALTERED.cure]),
  ].join('\n');
}

export const auditCommands = group('audit', 'Whether the audit is what was written', [verify]);
