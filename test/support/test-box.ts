import { generateKeyPairSync, type KeyObject } from 'node:crypto';

import { buildClient, CommitmentPolicy, KeyringNode, KeyringTraceFlag, type NodeDecryptionMaterial } from '@aws-crypto/client-node';
import { compactDecrypt } from 'jose';
import { inject } from 'vitest';

import { createDataKeyWrapper } from '../../adapters/jose/data-key-wrapper.ts';
import { createLeaseSigner } from '../../adapters/jose/lease-signer.ts';
import { createDataKeyUnwrapper } from '../../adapters/kms/data-key-unwrapper.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { readArchive } from '../../catalogue/archive.ts';
import { expandArchive } from '../../catalogue/compression.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { parseManifest, type ReleaseManifest } from '../../catalogue/manifest.ts';
import { targetPath } from '../../catalogue/target-path.ts';
import type { BoxCaller } from '../../delivery/box/box-caller.ts';
import { parseEncryptionKey, thumbprintOf, type EncryptionKey } from '../../delivery/box/encryption-key.ts';
import { grantToBox, type BoxGrant, type FetchDeps } from '../../delivery/box/fetches.ts';
import { permitBox } from '../../delivery/box/permit.ts';
import { reportBox, type ReportAnswer } from '../../delivery/box/report.ts';
import type { BoxReport } from '../../delivery/box/judge-report.ts';
import { PendingWatch } from '../../delivery/box/watch.ts';
import { askWanted, type WantedAnswer, type WantedDeps } from '../../delivery/box/wanted.ts';
import type { DigestsByPath, StagedFile, WantedFile } from '../../delivery/volume/volume-work.ts';
import { parseOrgId, parseWorkspaceId, type Sha256 } from '../../schemas/ids.ts';
import { findRuntime } from '../../schemas/runtimes.ts';
import type { DeliveryWorld } from './delivery-world.ts';

const empty = { kept: [], removed: [], directories: [], rescued: { returned: [], kept: [] }, failed: null };

/** What a test may do between the steps of a box. */
export interface Between {
  readonly fetched?: (grants: readonly BoxGrant[]) => Promise<void>;
  readonly staged?: () => Promise<void>;
  readonly permitted?: () => Promise<void>;
  readonly report?: (report: BoxReport) => BoxReport;
}

/**
 * The agent in one workspace as docs/guides/agent-protocol.md describes it, without HTTP between: its own key, the use cases
 * behind the routes, a custom keyring, and the same file work on a real volume.
 */
export class TestBox {
  readonly deps: WantedDeps & FetchDeps;
  readonly world: DeliveryWorld;
  readonly workspaceId: string;
  epoch = 1;
  readonly #private: KeyObject;
  readonly encryptionKey: EncryptionKey;
  tag: string | null = null;
  settled: number | null = null;
  /** Plaintext data keys seen, to look for where they must not be. */
  readonly keys: Buffer[] = [];

  private constructor(world: DeliveryWorld, workspaceId: string, deps: WantedDeps & FetchDeps) {
    const { privateKey, publicKey } = generateKeyPairSync('x25519');
    this.world = world;
    this.workspaceId = workspaceId;
    this.deps = deps;
    this.#private = privateKey;
    this.encryptionKey = parseEncryptionKey(publicKey.export({ format: 'jwk' }));
  }

  static open(world: DeliveryWorld, workspaceId: string): TestBox {
    const kms = openKms(inject('stack').kms);
    const lease = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
    return new TestBox(world, workspaceId, {
      database: world.database, options: { thirdPartySellers: false, settleWindowMs: 0 }, watch: new PendingWatch(world.database), leases: createLeaseSigner(String(lease)),
      signer: world.deps.signer, unwrapper: createDataKeyUnwrapper(kms), wrapper: createDataKeyWrapper(),
    });
  }

  get caller(): BoxCaller {
    return {
      workspaceId: parseWorkspaceId(this.workspaceId), orgId: parseOrgId(this.world.org), epoch: this.epoch,
      encryptionKeyThumbprint: thumbprintOf(this.encryptionKey),
    };
  }

  get volume(): string {
    return this.world.volume(this.workspaceId);
  }

  /** One question, unconditional unless `waitMs` is given. */
  async ask(waitMs?: number): Promise<WantedAnswer | undefined> {
    const { attempts } = await this.world.deps.volumes.inspect({ volume: this.volume });
    const answer = await askWanted(this.deps, this.caller, {
      folders: attempts, settled: this.settled, tag: waitMs === undefined ? null : this.tag, waitMs: waitMs ?? 0, signal: new AbortController().signal,
    });
    this.settled = null;
    if (answer !== undefined) this.tag = answer.tag;
    return answer;
  }

  /** Rounds until there is nothing to do. Out: what each report was answered with. */
  async rounds(between: Between = {}): Promise<string[]> {
    const results: string[] = [];
    for (let round = 0; round < 10; round += 1) {
      const answer = await this.ask();
      if (answer === undefined || answer.act === 'none') return results;
      results.push(`${answer.act}: ${(await this.carryOut(answer, between)).result}`);
    }
    throw new Error(`the box never comes to rest: ${results.join(', ')}`);
  }

  async carryOut(answer: WantedAnswer, between: Between = {}): Promise<ReportAnswer> {
    const { volumes } = this.world.deps;
    const { volume } = this;
    const attempt = answer.plan?.attempt ?? 0;
    const wanted = filesOf(answer);
    const fenced = await volumes.fence({
      volume, attempt, asides: answer.asides, adopt: answer.adopt === null ? undefined : { attempt: answer.adopt, files: wanted },
    });
    if (fenced.kind === 'superseded') return { result: 'superseded', code: null, mayHold: [] };
    const rescued = { returned: fenced.returned, kept: fenced.kept };
    let record = null;
    let report: BoxReport = { ...empty, attempt, files: [], rescued };
    if (answer.act === 'probe') {
      report = { ...report, ...await this.#read(wanted, new Set()) , directories: [] };
    } else if (answer.act !== 'discard') {
      const receipts = digestsByPath(answer.receipts.files);
      const concerned: DigestsByPath = answer.act === 'remove' ? new Map([...receipts].filter(([path]) => answer.removal.includes(path))) : receipts;
      const survey = await volumes.survey({
        volume, wanted, receipts: concerned, known: answer.plan?.known ?? new Map(), directories: answer.receipts.directories, denied: answer.denied,
      });
      const lacking = new Set(survey.wanted.flatMap(({ path, state }) => ((state === 'absent' || state === 'ours') && !fenced.adopted.includes(path) ? [path] : [])));
      const step = await this.#build(answer, lacking, between);
      if (step !== undefined) return { result: step, code: null, mayHold: [] };
      await between.staged?.();
      if (answer.act === 'stage') {
        const users = survey.wanted.filter((file) => file.state === 'user').map((file) => file.path);
        report = { ...report, files: wanted.map(({ path, sha256 }) => ({ path, sha256: users.includes(path) ? null : sha256 })), kept: users.map((path) => ({ path, reason: 'edited', movedTo: null })) };
      } else {
        const permitted = await permitBox(this.deps, this.caller, { attempt, making: survey.directoriesToMake });
        if (typeof permitted === 'string') {
          await volumes.settle({ volume, attempt, record: null, mayHold: [] });
          this.settled = attempt;
          return { result: permitted, code: null, mayHold: [] };
        }
        record = permitted.record;
        await between.permitted?.();
        const applied = await volumes.apply({ volume, attempt, record, wanted });
        if (applied.kind === 'superseded') return { result: 'superseded', code: null, mayHold: [] };
        const standing = new Set([...applied.written, ...applied.replaced, ...applied.unchanged]);
        const kept = applied.kept.filter((file) => file.path === null || !standing.has(file.path));
        report = { ...report, ...await this.#read(wanted, new Set(kept.map((file) => file.path ?? ''))), kept, removed: answer.removal, directories: applied.directories };
      }
    }
    const told = await reportBox(this.deps, this.caller, between.report?.(report) ?? report);
    if (told.result === 'staged') return told;
    await volumes.settle({ volume, attempt, record, mayHold: told.mayHold });
    this.settled = attempt;
    return told;
  }

  async #read(wanted: readonly WantedFile[], kept: ReadonlySet<string>): Promise<Pick<BoxReport, 'files' | 'kept'>> {
    const probed = await this.world.deps.volumes.probe({ volume: this.volume, files: wanted });
    const states = new Map(probed.map((file) => [file.path, file.state]));
    return {
      files: wanted.map(({ path, sha256 }) => ({ path, sha256: states.get(path) === 'ok' ? sha256 : null })),
      kept: wanted.flatMap(({ path }) => (states.get(path) === 'different' && !kept.has(path) ? [{ path, reason: 'edited' as const, movedTo: null }] : [])),
    };
  }

  async #build(answer: WantedAnswer, lacking: ReadonlySet<string>, between: Between): Promise<'replan' | 'superseded' | undefined> {
    const { volumes, fetcher } = this.world.deps;
    const attempt = answer.plan?.attempt ?? 0;
    for (const release of answer.plan?.releases ?? []) {
      const files = release.plannedFiles.filter((file) => lacking.has(file.path));
      if (files.length === 0) continue;
      const granted = await grantToBox(this.deps, this.caller, { attempt, releases: [release], encryptionKey: this.encryptionKey });
      if (typeof granted === 'string') return granted;
      await between.fetched?.(granted.items);
      const [item] = granted.items;
      if (item === undefined) throw new Error('a grant of one release has one');
      const { body } = await fetcher.get({ url: item.url, headers: item.headers, bytesMax: item.ciphertextBytes });
      const manifest = parseManifest(release.manifest);
      const archive = await this.open(item, body, manifest);
      const byArchivePath = new Map(files.map((file) => [file.archivePath, file]));
      const staged = [...readArchive(archive, manifest.files)].flatMap(({ path, bytes }): StagedFile[] => {
        const file = byArchivePath.get(path);
        return file === undefined ? [] : [{ path: file.path, sha256: file.sha256, executable: file.executable, bytes }];
      });
      await volumes.build({ volume: this.volume, attempt, files: staged });
    }
    return undefined;
  }

  /** The data key out of its JWE, and the archive that it opens. */
  async open(item: BoxGrant, ciphertext: Uint8Array, manifest: ReleaseManifest): Promise<Buffer> {
    const { plaintext } = await compactDecrypt(item.dataKey, this.#private);
    const { key } = JSON.parse(new TextDecoder().decode(plaintext)) as { key: string };
    const dataKey = Buffer.from(key, 'base64');
    this.keys.push(dataKey);
    const sdk = buildClient({ commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, maxEncryptedDataKeys: 1 });
    const opened = await sdk.decrypt(new GivenKeyring(dataKey), Buffer.from(ciphertext));
    return await expandArchive(opened.plaintext, manifest.archive_bytes, defaultLimits);
  }
}

/** Opens a message with the data key that it is given, for whatever key wrapped it. */
class GivenKeyring extends KeyringNode {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    super();
    this.#key = key;
  }

  override async _onEncrypt(): Promise<never> {
    throw await Promise.resolve(new Error('a box seals nothing'));
  }

  override async _onDecrypt(material: NodeDecryptionMaterial): Promise<NodeDecryptionMaterial> {
    return await Promise.resolve(material.setUnencryptedDataKey(Uint8Array.from(this.#key), {
      keyNamespace: 'waybill', keyName: 'grant', flags: KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY,
    }));
  }
}

function filesOf(answer: WantedAnswer): WantedFile[] {
  const runtime = findRuntime(answer.workspace.runtime);
  if (runtime === undefined) throw new Error('an unknown runtime');
  return (answer.plan?.releases ?? []).flatMap((release) => parseManifest(release.manifest).files.map((file) => ({
    path: targetPath(release.kind, release.itemId, runtime, file.path), sha256: file.sha256, size: file.bytes, executable: file.executable,
  })));
}

function digestsByPath(files: readonly { readonly path: string; readonly sha256: Sha256 }[]): DigestsByPath {
  return new Map([...Map.groupBy(files, (file) => file.path)].map(([path, of]) => [path, of.map((file) => file.sha256)]));
}
