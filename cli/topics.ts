import { silentLogger } from '../process/log.ts';
import { topics } from '../schemas/topics.ts';
import { applyTopicTable, settingsOf } from '../wire.ts';
import { command, group } from './command.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

const apply = command({
  usage: 'apply',
  summary: 'Make the topics of the cluster what the table says',
  examples: [['topics apply', 'creates what is missing and corrects settings; never removes a topic or a partition']],
  options: (yargs) => yargs,
  run: async (_args, { output }) => {
    const applied = await applyTopicTable(readSettings(settingsOf.topics), silentLogger);
    output.result(applied, (all) => all.flatMap(({ name, outcome, changes, notes }) => [
      `${outcome.padEnd(9)} ${name}`, ...changes.map((change) => `          ${change}`), ...notes.map((note) => `          note: ${note}`),
    ]).join('\n'));
  },
});

const list = command({
  usage: 'list',
  summary: 'Show the table of topics',
  examples: [['topics list', 'every topic with its owner, partitions and retention']],
  options: (yargs) => yargs,
  run: async (_args, { output }) => {
    const rows = Object.entries(topics).map(([topic, { owner, partitions, retentionDays, maxMessageBytes }]) => ({
      topic, owner, partitions, retention: retentionDays === null ? 'for ever' : `${String(retentionDays)} days`, maxMessageBytes,
    }));
    output.result(rows, (all) => table(['topic', 'owner', 'partitions', 'retention'], all));
    await Promise.resolve();
  },
});

export const topicsCommands = group('topics', 'The Kafka topics', [apply, list]);
