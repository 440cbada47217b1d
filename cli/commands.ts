import { channelCommands } from './channel.ts';
import type { Mountable } from './command.ts';
import { deadLettersCommands } from './dead-letters.ts';
import { migrateCommand } from './migrate.ts';
import { offsetsCommands } from './offsets.ts';
import { publishCommand } from './publish.ts';
import { releaseCommands } from './release.ts';
import { schemasCommands } from './schemas.ts';
import { sellerCommands } from './seller.ts';
import { topicsCommands } from './topics.ts';

/** Every command, in the order of the help. */
export const commands: readonly Mountable[] = [
  migrateCommand,
  topicsCommands,
  schemasCommands,
  sellerCommands,
  publishCommand,
  releaseCommands,
  channelCommands,
  deadLettersCommands,
  offsetsCommands,
];
