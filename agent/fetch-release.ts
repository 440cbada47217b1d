import { readArchive } from '../catalogue/archive.ts';
import type { ReleaseLimits } from '../catalogue/limits.ts';
import { sealContext } from '../catalogue/seal-context.ts';
import { fetchSealed, type ArtifactFetcher } from '../delivery/sources/brokered.ts';
import { unsealRelease, type Unsealer } from '../delivery/unseal.ts';
import type { StagedFile } from '../delivery/volume/volume-work.ts';
import { Failure } from '../process/failure.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import type { AgentKeys } from './agent-keys.ts';
import type { Overtaken } from './broker-answers.ts';
import type { Broker } from './broker.ts';
import { openDataKey } from './data-key.ts';
import { recordOf, type VerifiedItem } from './verify-set.ts';

export interface FetchDeps {
  readonly broker: Pick<Broker, 'grants'>;
  readonly fetcher: ArtifactFetcher;
  /** Opens a sealed release with its data key. Implemented by adapters/kms. */
  readonly unsealerOf: (dataKey: Uint8Array) => Unsealer;
  readonly keys: AgentKeys;
  readonly limits: ReleaseLimits;
  readonly workspaceId: WorkspaceId;
}

/**
 * The files of a release at `paths` of the volume: grant → fetch → data key → open → verified files (checks 5 to 10 of the
 * protocol). One grant for one fetch, asked for right before it. Plaintext and key are in memory alone, until the caller
 * builds and drops them (I9).
 * @throws Failure as Broker, fetchSealed, openDataKey and unsealRelease
 */
export async function fetchRelease(
  deps: FetchDeps, attempt: number, { item, manifest, signingPublicKey, files }: VerifiedItem, paths: ReadonlySet<string>, signal: AbortSignal,
): Promise<readonly StagedFile[] | Overtaken['result']> {
  const answer = await deps.broker.grants(attempt, [{ item_id: item.item_id, version: item.version }], signal);
  if (answer.result !== 'granted') return answer.result;
  const grant = answer.items.find((one) => one.item_id === item.item_id && one.version === item.version);
  if (grant === undefined || answer.items.length !== 1) throw new Failure('dependency', 'UPSTREAM', `the broker granted something else than ${item.item_id} ${item.version}`);

  const { ciphertext_sha256: ciphertextSha256, ciphertext_bytes: ciphertextBytes } = item;
  const ciphertext = await fetchSealed(deps.fetcher, { url: grant.url, headers: grant.headers, ciphertextSha256, ciphertextBytes }, signal);
  const dataKey = await openDataKey(grant.data_key, deps.keys.encryption.key, {
    workspaceId: deps.workspaceId, attempt, ciphertextSha256, context: sealContext(manifest),
  });
  const record = { ...recordOf(item), signingPublicKey, ciphertextSha256, ciphertextBytes };
  const { archive } = await unsealRelease(deps.unsealerOf(dataKey), record, ciphertext, deps.limits);
  const byArchivePath = new Map(files.filter((file) => paths.has(file.path)).map((file) => [file.archivePath, file]));
  // All of it is read, and so verified to its end, before any of it is handed on.
  return [...readArchive(archive, manifest.files)].flatMap(({ path, bytes }) => {
    const file = byArchivePath.get(path);
    return file === undefined ? [] : [{ path: file.path, sha256: file.sha256, executable: file.executable, bytes }];
  });
}
