import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

import { checkCurrent, keyIdOf, keyListMessage, parseKeyList, trustFirst, type ListedKey, type SignedKeyList } from '../catalogue/key-list.ts';
import { draftKeyList, listedKey, publishKeyList, readKeyLists } from '../catalogue/publish/key-lists.ts';
import { Failure } from '../process/failure.ts';
import { parseSellerId } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { readSettings } from './settings.ts';

const generate = command({
  usage: 'generate <file>',
  summary: 'Make an Ed25519 key for the root or for leases, as PEM that only its owner may read',
  examples: [['keys generate root-1.pem', 'each root key on a machine of its own, away from the pipeline']],
  options: (yargs) => yargs.positional('file', { type: 'string', demandOption: true, describe: 'Where it goes; a file that is there is not replaced' }),
  run: async ({ file }, { output }) => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    try {
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
      writeFileSync(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }), { flag: 'wx' });
    } catch (error) {
      throw new Failure('input', 'USAGE', `${file} or ${file}.pub cannot be written: ${(error as Error).message}`, { cause: error });
    }
    const key = { keyId: keyIdOf(publicKey.export({ type: 'spki', format: 'der' })), file, publicFile: `${file}.pub` };
    output.result(key, () => `made ${key.file} and ${key.publicFile}\n  key id  ${key.keyId}`);
    await Promise.resolve();
  },
});

const draft = command({
  usage: 'draft <file>',
  summary: 'Write the next key list, unsigned: every seller with its key, the root and the broker as given',
  examples: [
    ['keys draft next.json --root a.pem.pub --root b.pem.pub --threshold 2 --lease lease.pem.pub', 'the first one, or one with other root keys'],
    ['keys draft next.json --without 3f2a… --key acme=acme-new.pub', 'a stolen key goes, another one comes'],
  ],
  options: (yargs) => yargs
    .positional('file', { type: 'string', demandOption: true, describe: 'Where the draft goes' })
    .option('root', { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'Public root key (PEM); none: those of the newest list' })
    .option('threshold', { type: 'number', describe: 'How many root keys have to sign; none given: as in the newest list' })
    .option('lease', { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'Public key that signs leases (PEM); none: those of the newest list' })
    .option('key', { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'seller=file: one more public key of a seller (PEM)' })
    .option('without', { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'Id of a key that is left out: it was stolen, or its time is over' })
    .option('days', { type: 'number', default: 90, describe: 'How long the list is valid' }),
  run: async (args, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'keys', 1);
    const [newest] = await readKeyLists(own, undefined);
    const before = newest === undefined ? undefined : parseKeyList(newest.signed);
    const rootKeys = args.root.length > 0 ? args.root.map(readPublic) : before?.root.keys ?? [];
    const brokerKeys = args.lease.length > 0 ? args.lease.map(readPublic) : before?.broker ?? [];
    if (rootKeys.length === 0) throw new Failure('input', 'USAGE', 'There is no key list yet: name its root keys with --root');
    if (!Number.isInteger(args.days) || args.days < 1 || args.days > 3_660) throw new Failure('input', 'USAGE', `--days should be a whole number from 1 to 3660, not ${args.days}`);
    const without = (keys: readonly ListedKey[]): ListedKey[] => keys.filter(({ keyId }) => !args.without.includes(keyId));
    const signed = await draftKeyList(own, {
      rootKeys: without(rootKeys), brokerKeys: without(brokerKeys), threshold: args.threshold ?? before?.root.threshold ?? rootKeys.length,
      sellerKeys: args.key.map(parseSellerKey), without: args.without, daysValid: args.days,
    });
    write(args.file, { signed, signatures: [] });
    output.result({ file: args.file, list: JSON.parse(signed) as unknown }, () => `wrote ${args.file}, version ${parseKeyList(signed).version}: look at it, then sign it with \`waybill keys sign\``);
  },
});

const signDraft = command({
  usage: 'sign <file>',
  summary: 'Add the signature of a root key to a draft',
  examples: [['keys sign next.json --key root-1.pem', 'needs no database: done where the key lies']],
  options: (yargs) => yargs
    .positional('file', { type: 'string', demandOption: true, describe: 'The draft' })
    .option('key', { type: 'string', demandOption: true, describe: 'The root key (PEM)' }),
  run: async ({ file, key }, { output }) => {
    const { signed, signatures } = readSigned(file);
    const { version } = parseKeyList(signed);
    const privateKey = readKey(key, createPrivateKey);
    const keyId = keyIdOf(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }));
    const signature = sign(null, keyListMessage(signed), privateKey).toString('base64');
    write(file, { signed, signatures: [...signatures.filter((other) => other.key_id !== keyId), { key_id: keyId, signature }] });
    output.result({ file, version, keyId }, () => `signed version ${version} with ${keyId}`);
    await Promise.resolve();
  },
});

const publish = command({
  usage: 'publish <file>',
  summary: 'Publish a signed key list: agents and workers take it from then on',
  examples: [['keys publish next.json --reason "key of acme stolen, incident 71"', 'checked against the newest list as every agent will check it']],
  options: (yargs) => yargs
    .positional('file', { type: 'string', demandOption: true, describe: 'The signed draft' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Why, for the audit' }),
  run: async ({ file, reason }, { output }) => {
    if (reason.trim() === '') throw new Failure('input', 'USAGE', '--reason should say why');
    await using own = wireDatabase(readSettings(settingsOf.database), 'keys', 1);
    const { version, expiresAt } = await publishKeyList(own, readSigned(file), reason);
    output.result({ version, expiresAt: new Date(expiresAt).toISOString() }, () => `version ${version} is the newest key list; it expires at ${new Date(expiresAt).toISOString()}`);
  },
});

const show = command({
  usage: 'show',
  summary: 'Show the newest key list, and write it where an image of an agent takes it from',
  examples: [['keys show --out trusted-keys.json', 'what a new agent image trusts first']],
  options: (yargs) => yargs.option('out', { type: 'string', describe: 'Also write the signed list to this file' }),
  run: async ({ out }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'keys', 1);
    const [newest] = await readKeyLists(own, undefined);
    if (newest === undefined) throw new Failure('input', 'NOT_FOUND', 'There is no key list yet: `waybill keys draft`, `sign` and `publish` make one');
    checkCurrent(trustFirst(newest), Date.now());
    if (out !== undefined) write(out, newest);
    output.result(JSON.parse(newest.signed), () => JSON.stringify(JSON.parse(newest.signed), null, 2));
  },
});

function parseSellerKey(text: string): { sellerId: ReturnType<typeof parseSellerId>; key: ListedKey } {
  const [seller = '', ...file] = text.split('=');
  return { sellerId: parseSellerId(seller, 'key'), key: readPublic(file.join('=')) };
}

const readPublic = (file: string): ListedKey => listedKey(readKey(file, createPublicKey).export({ type: 'spki', format: 'der' }));

function readKey(file: string, parse: (pem: string) => KeyObject): KeyObject {
  try {
    const key = parse(readFileSync(file, 'utf8'));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    // What is in the file is not repeated: it may be a private key.
    throw new Failure('input', 'USAGE', `${file} cannot be read as an Ed25519 key in PEM`, { cause: error });
  }
  throw new Failure('input', 'USAGE', `${file} is a key of another kind than Ed25519`);
}

function readSigned(file: string): SignedKeyList {
  try {
    const { signed, signatures } = JSON.parse(readFileSync(file, 'utf8')) as SignedKeyList; // looked at by whoever uses it
    if (typeof signed === 'string' && Array.isArray(signatures)) return { signed, signatures };
  } catch (error) {
    throw new Failure('input', 'USAGE', `${file} cannot be read as a key list`, { cause: error });
  }
  throw new Failure('input', 'USAGE', `${file} is no key list`);
}

function write(file: string, list: SignedKeyList): void {
  writeFileSync(file, `${JSON.stringify(list, null, 2)}\n`);
}

export const keysCommands = group('keys', 'The root of trust: which keys may sign manifests and leases', [generate, draft, signDraft, publish, show]);
