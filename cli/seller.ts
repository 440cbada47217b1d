import { createSeller } from '../catalogue/publish/seller.ts';
import { parseSellerId } from '../schemas/ids.ts';
import { settingsOf, wirePublishing } from '../wire.ts';
import { command, group } from './command.ts';
import { readSettings } from './settings.ts';

const create = command({
  usage: 'create <seller>',
  summary: 'Register a seller with a KMS key and a signing key of its own',
  examples: [['seller create platform', 'seller #0: the templates of the platform itself'], ['seller create acme', 'a seller that is there keeps its keys']],
  options: (yargs) => yargs.positional('seller', { type: 'string', demandOption: true, describe: 'Its id: lower-case letters, digits and inner hyphens' }),
  run: async ({ seller }, { output }) => {
    const id = parseSellerId(seller, 'seller');
    await using publishing = wirePublishing(readSettings(settingsOf.publish));
    const { seller: made, created } = await createSeller(publishing.deps.database, publishing.sellerKeys, id);
    const result = { seller: made.sellerId, created, wrappingKeyId: made.wrappingKeyId, signingKeyId: made.signingKeyId };
    output.result(result, () => [
      `${created ? 'created' : 'there already'}: seller ${made.sellerId}`, `  wraps data keys  ${made.wrappingKeyId}`, `  signs manifests  ${made.signingKeyId}`,
    ].join('\n'));
  },
});

export const sellerCommands = group('seller', 'Who publishes', [create]);
