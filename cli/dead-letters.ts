import { showDeadLetter, type DeadLetter } from '../consumers/dead-letters.ts';
import { discardDeadLetter, redriveDeadLetter } from '../consumers/redrive.ts';
import { Failure } from '../process/failure.ts';
import { listDeadLetters } from '../process/list-dead-letters.ts';
import { codes, isCode } from '../schemas/codes.ts';
import { settingsOf, wireCodec, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { parseLimit } from './limit.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

const list = command({
  usage: 'list',
  summary: 'Show records that could not be read',
  examples: [['dead-letters list', 'the newest open ones'], ['dead-letters list --code KEY_MISMATCH --status discarded', 'by why and by state']],
  options: (yargs) => yargs
    .option('status', { choices: ['open', 'closed', 'redriven', 'discarded', 'any'] as const, default: 'open' as const, describe: 'Their state' })
    .option('code', { type: 'string', describe: 'Why they were refused' })
    .option('consumer', { type: 'string', describe: 'Who refused them' })
    .option('limit', { type: 'number', default: 50, describe: 'At most so many' }),
  run: async ({ status, code, consumer, limit }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'dead-letters', 1);
    const found = await listDeadLetters(own, {
      limit: parseLimit(limit), ...(status === 'any' ? {} : { status }), ...(code === undefined ? {} : { code }), ...(consumer === undefined ? {} : { consumer }),
    });
    output.result(found, (all) => (all.length === 0 ? 'no dead letters' : table(
      ['id', 'code', 'status', 'record', 'at', 'reason'],
      all.map((one) => ({ ...one, record: `${one.topic}/${String(one.partition)}/${String(one.offset)}`, at: one.createdAt.toISOString(), reason: one.reason.slice(0, 100) })),
    )));
    return found.length === 0 ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

const show = command({
  usage: 'show <id>',
  summary: 'Show one dead letter with its bytes',
  examples: [['dead-letters show 7', 'where it came from, why it was refused, the way out, and its bytes'], ['dead-letters show 7 --json', 'key and value in base64']],
  options: (yargs) => yargs.positional('id', { type: 'number', demandOption: true, describe: 'Its number in the list' }),
  run: async ({ id }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'dead-letters', 1);
    const found = Number.isSafeInteger(id) ? await showDeadLetter(own, id) : undefined;
    if (found === undefined) throw new Failure('input', 'NOT_FOUND', `There is no dead letter ${String(id)}.`);
    const { key, value, headers, ...summary } = found;
    const whole = {
      ...summary, key: key?.toString('base64') ?? null, value: value?.toString('base64') ?? null,
      headers: headers.map(([name, bytes]) => [name, bytes.toString('base64')]),
    };
    output.result(whole, () => describe(found));
  },
});

const redrive = command({
  usage: 'redrive <id>',
  summary: 'Apply a dead letter after what refused it was mended',
  examples: [['dead-letters redrive 7 --reason "schema registered"', 'decoded and folded as it would be now; an older version than what stands changes nothing']],
  options: (yargs) => yargs
    .positional('id', { type: 'number', demandOption: true, describe: 'Its number in the list' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Why, for the audit' }),
  run: async ({ id, reason }, { output }) => {
    const config = readSettings(settingsOf.schemas);
    await using own = wireDatabase(config, 'dead-letters', 2);
    const redriven = await redriveDeadLetter({ database: own, codec: wireCodec(config, own) }, id, reason);
    output.result(redriven, () => (redriven.status === 'redriven' ? `dead letter ${String(id)} is applied` : `dead letter ${String(id)} is closed: what stands is as new or newer`));
    return exitCodes.ok;
  },
});

const discard = command({
  usage: 'discard <id>',
  summary: 'Give a dead letter up',
  examples: [['dead-letters discard 7 --reason "test data"', 'it leaves the list of open ones; its bytes are kept']],
  options: (yargs) => yargs
    .positional('id', { type: 'number', demandOption: true, describe: 'Its number in the list' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Why, for the audit' }),
  run: async ({ id, reason }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'dead-letters', 1);
    await discardDeadLetter(own, id, reason);
    output.result({ id, status: 'discarded' }, () => `dead letter ${String(id)} is discarded`);
    return exitCodes.ok;
  },
});

/** Bytes of a value that are shown to a person; the rest is in the JSON. */
const shownBytes = 512;

function describe({ id, consumer, topic, partition, offset, code, reason, status, createdAt, key, value, headers }: DeadLetter): string {
  return [
    `dead letter ${String(id)}, ${status}, since ${createdAt.toISOString()}`,
    `  record   ${topic}/${String(partition)}/${String(offset)}, refused by ${consumer}`,
    `  ${code}: ${reason}`,
    ...(isCode(code) ? [`  cure     ${codes[code].cure}`] : []),
    `  key      ${key === null ? 'none' : JSON.stringify(key.toString('utf8'))}`,
    ...headers.map(([name, bytes]) => `  header   ${name}: ${JSON.stringify(bytes.toString('utf8').slice(0, 200))}`),
    `  value    ${value === null ? 'none' : `${String(value.length)} bytes${value.length > shownBytes ? `, the first ${String(shownBytes)}` : ''}`}`,
    ...hexDump(value?.subarray(0, shownBytes) ?? Buffer.alloc(0)),
  ].join('\n');
}

/** 16 bytes a line, in hex and as text. */
function hexDump(bytes: Buffer): string[] {
  return Array.from({ length: Math.ceil(bytes.length / 16) }, (_, line) => {
    const part = bytes.subarray(line * 16, line * 16 + 16);
    const text = part.toString('latin1').replaceAll(/[^\x20-\x7e]/gu, '.');
    return `    ${(line * 16).toString(16).padStart(6, '0')}  ${part.toString('hex').replaceAll(/(..)/gu, '$1 ').padEnd(48)} ${text}`;
  });
}

export const deadLettersCommands = group('dead-letters', 'Records that could not be read', [list, show, redrive, discard]);
