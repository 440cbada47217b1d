import { readFileSync } from 'node:fs';

import { checkCurrent, followKeyLists, sellerKeys, trustFirst, type SignedKeyList, type TrustedKeyList } from '../catalogue/key-list.ts';
import { Failure } from '../process/failure.ts';
import type { SellerId } from '../schemas/ids.ts';
import type { AgentClock } from './agent-clock.ts';
import type { AgentFiles } from './agent-files.ts';
import { parseKeyLists } from './broker-answers.ts';
import type { Broker } from './broker.ts';
import type { LeaseKeys } from './lease.ts';

/** The keys that the newest trusted key list names. */
export interface TrustedKeys {
  /** Keys that may sign manifests of a seller, SPKI DER; none for a seller that the list does not know. */
  sellerKeys(sellerId: SellerId): readonly Buffer[];
  readonly leaseKeys: LeaseKeys;
}

export interface KeyTrustOptions {
  readonly files: AgentFiles;
  readonly broker: Pick<Broker, 'keyLists'>;
  readonly clock: AgentClock;
  /** The list that came with the agent's image. */
  readonly initialFile: string;
}

/**
 * Which keys are trusted: begins with the list of the image, or the newer one that was reached before, and follows the broker's
 * from there. Lists are kept as they were signed and followed again at each start, so that an altered file is no way in.
 * @throws Failure input CONFIG_INVALID for an image without a list; subject INTEGRITY_FAILED for one that does not hold
 */
export function openKeyTrust({ files, broker, clock, initialFile }: KeyTrustOptions): KeyTrust {
  const initial = trustFirst(readInitial(initialFile));
  const kept = readKept(files);
  return new KeyTrust({ files, broker, clock }, kept.length === 0 ? initial : followKeyLists(initial, after(initial, kept)), kept);
}

export class KeyTrust {
  readonly #options: Omit<KeyTrustOptions, 'initialFile'>;
  #trusted: TrustedKeyList;
  #kept: readonly SignedKeyList[];

  constructor(options: Omit<KeyTrustOptions, 'initialFile'>, trusted: TrustedKeyList, kept: readonly SignedKeyList[]) {
    this.#options = options;
    this.#trusted = trusted;
    this.#kept = kept;
  }

  keys(): TrustedKeys {
    const { list } = this.#trusted;
    return {
      sellerKeys: (sellerId) => sellerKeys(list, sellerId).map((key) => key.publicKey),
      leaseKeys: new Map(list.broker.map((key) => [key.keyId, key.publicKey])),
    };
  }

  /**
   * Takes the newer lists that the broker has, one after the other. With a list that has expired nothing new is accepted.
   * @throws Failure subject INTEGRITY_FAILED; dependency UNAVAILABLE
   */
  async refresh(signal: AbortSignal): Promise<void> {
    const { files, broker, clock } = this.#options;
    for (;;) {
      const newer = await broker.keyLists(this.#trusted.list.version, signal);
      if (newer.length === 0) break;
      this.#trusted = followKeyLists(this.#trusted, newer);
      this.#kept = [...this.#kept, ...newer];
      files.write('key-list.json', JSON.stringify({ lists: this.#kept }));
    }
    checkCurrent(this.#trusted, clock.latestMs());
  }
}

/** Those of the kept lists that come after one that is trusted; the image may have caught up meanwhile. */
function after(trusted: TrustedKeyList, kept: readonly SignedKeyList[]): readonly SignedKeyList[] {
  return kept.filter(({ signed }) => (JSON.parse(signed) as { version: number }).version > trusted.list.version); // judged by followKeyLists right after
}

function readInitial(file: string): SignedKeyList {
  try {
    const [list] = parseKeyLists({ lists: [JSON.parse(readFileSync(file, 'utf8'))] });
    if (list !== undefined) return list;
  } catch (error) {
    throw new Failure('input', 'CONFIG_INVALID', `WAYBILL_KEY_LIST_FILE names ${file}, which holds no signed key list: ${(error as Error).message}`, { cause: error });
  }
  throw new Failure('input', 'CONFIG_INVALID', `WAYBILL_KEY_LIST_FILE names ${file}, which holds no signed key list`);
}

/** What cannot be read was never reached: the way there is gone again from the image's list. */
function readKept(files: AgentFiles): readonly SignedKeyList[] {
  const text = files.read('key-list.json');
  if (text === undefined) return [];
  try {
    return parseKeyLists(JSON.parse(text));
  } catch {
    return [];
  }
}
