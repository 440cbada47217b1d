import { loadOwnedBaseline } from '../../catalogue/baselines.ts';
import { loadSealedReleases, type SealedRelease } from '../../catalogue/lookup.ts';
import { targetPath } from '../../catalogue/target-path.ts';
import { verifySignedRecord } from '../../delivery/unseal.ts';
import { tx, type Database } from '../../process/database.ts';
import type { ItemId, RuntimeId, Sha256, Version } from '../../schemas/ids.ts';
import { findRuntime } from '../../schemas/runtimes.ts';
import type { OwnersOf } from './identity.ts';

/** Paths on a volume that a boot of this runtime reads before the agent starts. */
export function identityPathsOf(runtime: RuntimeId): string[] {
  const known = findRuntime(runtime);
  return known === undefined ? [] : known.identityFiles.map((name) => `${known.configRoot}/${name}`);
}

/** A file that a release brings, at its path on the volume. */
export interface DeliveredFile {
  readonly path: string;
  readonly sha256: Sha256;
  readonly identity: boolean;
}

/** What is known of the files of one runtime: whose each digest at a path is. */
export interface KnownFiles {
  readonly ownersOf: OwnersOf;
  /** Whether the platform wrote it before: such a file counts as ours and is replaced (C8). */
  readonly isBaseline: (path: string, digest: Sha256) => boolean;
  /** The files of a release of a template. @throws Failure subject INTEGRITY_FAILED */
  filesOf(item: ItemId, version: Version): Promise<readonly DeliveredFile[]>;
}

/**
 * Loads what tells whose a file is: the recorded baselines of the runtime, and every signed release of a template (D3). A
 * release that does not verify says nothing.
 */
export async function loadKnownFiles(database: Database, runtime: RuntimeId): Promise<KnownFiles> {
  const root = findRuntime(runtime);
  const owners = new Map<string, Set<ItemId>>();
  const add = (path: string, digest: Sha256, items: readonly ItemId[]): void => {
    const name = `${path} ${digest}`;
    const known = owners.get(name) ?? new Set();
    for (const item of items) known.add(item);
    owners.set(name, known);
  };
  const { baseline, wanted } = await tx(database, async (trx) => {
    const { rows } = await trx.raw<{ rows: { itemId: ItemId; version: Version }[] }>(
      `select r.item_id as "itemId", r.version from releases r join items using (item_id) where kind = 'template' and ? = any(runtimes)`, [runtime],
    );
    return { baseline: await loadOwnedBaseline(trx, runtime), wanted: rows };
  });
  const baselines = new Set<string>();
  for (const { path, sha256, itemIds } of baseline) {
    const onVolume = `${root?.configRoot ?? ''}/${path}`;
    add(onVolume, sha256, itemIds);
    baselines.add(`${onVolume} ${sha256}`);
  }
  const filesByRelease = new Map<string, readonly DeliveredFile[]>();
  for (const release of await loadSealedReleases(database, wanted)) {
    const files = deliveredFiles(release, runtime, 'skip');
    filesByRelease.set(`${release.itemId}@${release.version}`, files);
    for (const file of files) add(file.path, file.sha256, [release.itemId]);
  }
  return {
    ownersOf: (path, digest) => {
      const known = owners.get(`${path} ${digest}`);
      return known === undefined ? null : [...known].toSorted();
    },
    isBaseline: (path, digest) => baselines.has(`${path} ${digest}`),
    async filesOf(item, version) {
      const known = filesByRelease.get(`${item}@${version}`);
      if (known !== undefined && known.length > 0) return known;
      const [release] = await loadSealedReleases(database, [{ itemId: item, version }]);
      return release === undefined ? [] : deliveredFiles(release, runtime, 'throw');
    },
  };
}

function deliveredFiles(release: SealedRelease, runtimeId: RuntimeId, unverified: 'skip' | 'throw'): DeliveredFile[] {
  const runtime = findRuntime(runtimeId);
  if (runtime === undefined) return [];
  try {
    return verifySignedRecord(release).files.map(({ path, sha256, identity }) => ({ path: targetPath(release.kind, release.itemId, runtime, path), sha256, identity }));
  } catch (error) {
    if (unverified === 'throw') throw error;
    return [];
  }
}
