import { agentCommand } from './agent.ts';
import { auditCommands } from './audit.ts';
import { backfillCommands } from './backfill.ts';
import { catalogueCommands } from './catalogue.ts';
import { channelCommands } from './channel.ts';
import type { Mountable } from './command.ts';
import { deadLettersCommands } from './dead-letters.ts';
import { deliveriesCommands } from './deliveries.ts';
import { devCommand } from './dev.ts';
import { doctorCommand } from './doctor.ts';
import { envCommand } from './env.ts';
import { explainCommand } from './explain.ts';
import { importCommands } from './import.ts';
import { keysCommands } from './keys.ts';
import { migrateCommand } from './migrate.ts';
import { offsetsCommands } from './offsets.ts';
import { publishCommand } from './publish.ts';
import { replayCommands } from './replay.ts';
import { rebuildCommands } from './rebuild.ts';
import { releaseCommands } from './release.ts';
import { revokeCommand } from './revoke.ts';
import { runCommand } from './run.ts';
import { schemasCommands } from './schemas.ts';
import { sellerCommands } from './seller.ts';
import { tokenCommand } from './token.ts';
import { topicsCommands } from './topics.ts';
import { triggerCommands } from './trigger.ts';

/** Every command, in the order of the help. */
export const commands: readonly Mountable[] = [
  devCommand,
  envCommand,
  tokenCommand,
  runCommand,
  agentCommand,
  migrateCommand,
  topicsCommands,
  schemasCommands,
  sellerCommands,
  keysCommands,
  publishCommand,
  releaseCommands,
  channelCommands,
  catalogueCommands,
  triggerCommands,
  revokeCommand,
  explainCommand,
  deliveriesCommands,
  deadLettersCommands,
  replayCommands,
  rebuildCommands,
  backfillCommands,
  importCommands,
  offsetsCommands,
  auditCommands,
  doctorCommand,
];
