import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { keyListMessage } from '../../catalogue/key-list.ts';
import { draftKeyList, listedKey, publishKeyList, readKeyLists } from '../../catalogue/publish/key-lists.ts';
import type { Database } from '../../process/database.ts';

/**
 * FOR DEVELOPMENT ONLY: one root key, beside the database whose list it signs. Elsewhere root keys lie on machines of their
 * own (`waybill keys`), and more than one has to sign.
 */
const folderOf = (stateDir: string): string => join(stateDir, 'development-only-keys');
const rootFile = (stateDir: string): string => join(folderOf(stateDir), 'root.pem');

/** The key that signs leases in `waybill dev`. */
export const devLeaseFile = (stateDir: string): string => join(folderOf(stateDir), 'lease.pem');

/** The list that the agents of `waybill dev` trust from the beginning. */
export const devKeyListFile = (stateDir: string): string => join(folderOf(stateDir), 'trusted-keys.json');

/** Makes the keys of this state folder where they are not there. */
export function prepareDevKeys(stateDir: string): void {
  mkdirSync(folderOf(stateDir), { recursive: true, mode: 0o700 });
  for (const file of [rootFile(stateDir), devLeaseFile(stateDir)]) {
    if (existsSync(file)) continue;
    writeFileSync(file, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  }
}

/** Publishes a list that names the sellers as they are now, and keeps the first one as an agent's image would bring it. */
export async function publishDevKeyList(database: Database, stateDir: string): Promise<string> {
  const root = createPrivateKey(readFileSync(rootFile(stateDir), 'utf8'));
  const [rootKey, leaseKey] = [root, createPrivateKey(readFileSync(devLeaseFile(stateDir), 'utf8'))]
    .map((key) => listedKey(createPublicKey(key).export({ type: 'spki', format: 'der' })));
  if (rootKey === undefined || leaseKey === undefined) throw new Error('two keys went in');
  const signed = await draftKeyList(database, { threshold: 1, rootKeys: [rootKey], brokerKeys: [leaseKey], sellerKeys: [], without: [], daysValid: 90 });
  const signature = sign(null, keyListMessage(signed), root).toString('base64');
  const { version } = await publishKeyList(database, { signed, signatures: [{ key_id: rootKey.keyId, signature }] }, 'waybill dev starts');
  const [newest] = await readKeyLists(database, undefined);
  writeFileSync(devKeyListFile(stateDir), JSON.stringify(newest));
  return `version ${String(version)}, signed by a root key for development`;
}
