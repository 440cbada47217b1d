import { readFileSync, writeFileSync } from 'node:fs';

import type { Mountable } from '../cli/command.ts';
import { commands } from '../cli/commands.ts';
import { exitCodeMeanings } from '../cli/exit-codes.ts';
import { runCommandLine } from '../cli/run-command-line.ts';
import { openApiDocument } from '../http/openapi.ts';
import { routes } from '../http/routes.ts';
import { settings } from '../process/config.ts';
import { codes } from '../schemas/codes.ts';

/**
 * `npm run docs:generate`: the references that are made from tables of the code. test/rules/docs.test.ts holds what is
 * committed equal to what this makes.
 */
export async function generate(): Promise<Map<string, string>> {
  return new Map([['cli.md', await commandLine()], ['configuration.md', configuration()], ['codes.md', codeTable()], ['openapi.json', await apiReference()]]);
}

const note = (source: string): string => `<!-- Made from ${source} by \`npm run docs:generate\`. Do not edit. -->\n`;

/** As wide as a page reads well. */
const helpWidth = 110;

async function commandLine(): Promise<string> {
  const sections = await Promise.all(commands.flatMap((one) => paths(one)).map(async (path) => `## waybill ${path.join(' ')}\n\n\`\`\`\n${await help(path)}\n\`\`\`\n`));
  const exits = Object.entries(exitCodeMeanings).map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return [
    `# Command line\n\n${note('cli/')}`,
    'In a checkout: `npx waybill <command>`, or `npm run waybill -- <command>`. Every command takes `--json`, which writes one JSON',
    'document (a line for each step where a command tells of steps) to standard output and errors as JSON to standard error, and',
    '`--debug`, which shows where an error came from. What a command needs to know comes from the environment',
    '([configuration.md](configuration.md)), and where that says nothing from the `waybill dev` of the same checkout, if it runs.',
    'Errors have a code ([codes.md](codes.md)), what was wrong, and the way out.\n',
    `| exit code | means |\n|---|---|\n${exits.join('\n')}\n`,
    sections.join('\n'),
  ].join('\n');
}

/** The words of every command that can be called: of a group its subcommands, not the group. */
function paths({ usage, subcommands }: Mountable): string[][] {
  const word = usage.split(' ')[0] ?? usage;
  return subcommands.length === 0 ? [[word]] : subcommands.flatMap((sub) => paths(sub)).map((path) => [word, ...path]);
}

async function help(path: readonly string[]): Promise<string> {
  let text = '';
  const out = { write: (part: string) => { text += part; } };
  await runCommandLine([...path, '--help'], { commands, streams: { out, err: out }, signal: new AbortController().signal, width: helpWidth });
  return text.split('\n').map((line) => line.trimEnd()).join('\n').trim();
}

function configuration(): string {
  const rows = Object.values(settings).map((row) => {
    const { variable, meaning } = row;
    const unit = 'unit' in row && row.unit !== undefined ? ` ${row.unit}` : '';
    const preset = 'fallback' in row && row.fallback !== undefined ? `as \`${row.fallback}\`` : 'defaultText' in row && row.defaultText !== undefined ? (row.defaultText === '' ? 'empty' : `\`${row.defaultText}\`${unit}`) : 'required';
    return `| \`${variable}\`${'secret' in row ? ' (secret)' : ''} | ${preset} | ${meaning} |`;
  });
  return [
    `# Configuration\n\n${note('process/config.ts')}`,
    'Everything comes from the environment. A command reads only the settings that it needs; what is missing or wrong is reported',
    'all at once, and nothing starts half-configured. *Required* means: by the commands that read it. A secret may stand in a file',
    'instead: `<variable>_FILE` names it. `waybill dev` sets all of them for itself, and commands in the same checkout find what it',
    'runs with; its services have variables of their own ([stack.md](stack.md)).\n',
    `| variable | default | meaning |\n|---|---|---|\n${rows.join('\n')}\n`,
  ].join('\n');
}

function codeTable(): string {
  const rows = Object.entries(codes).map(([code, { meaning, cure }]) => `| \`${code}\` | ${meaning} | ${cure} |`);
  return `# Codes\n\n${note('schemas/codes.ts')}\nEvery stable code that a person or an event may meet. Codes are for ever: rows are added, none is renamed.\n\n| code | means | way out |\n|---|---|---|\n${rows.join('\n')}\n`;
}

/** The HTTP door's routes as OpenAPI 3.1, as `/openapi.json` serves them. */
const apiReference = async (): Promise<string> => `${JSON.stringify(await openApiDocument(routes), null, 2)}\n`;

const fileOf = (name: string): URL => new URL(name, import.meta.url);

/** The names of pages that are not what they would be made as now. */
export async function findStale(): Promise<string[]> {
  return [...await generate()].filter(([name, text]) => readIfThere(name) !== text).map(([name]) => `docs/${name}`);
}

function readIfThere(name: string): string | undefined {
  try {
    return readFileSync(fileOf(name), 'utf8');
  } catch {
    return undefined;
  }
}

if (import.meta.main) {
  for (const [name, text] of await generate()) writeFileSync(fileOf(name), text);
}
