import { asFailure, Failure } from '../../process/failure.ts';
import type { Code } from '../../schemas/codes.ts';
import { marketplaceFile, parseMarketplace, type ListedPlugin } from './marketplace-file.ts';
import { parseFolder, parsePinnedCommit, type PinnedCommit } from './pin.ts';
import { publishFrom, type PublishDeps, type PublishReport } from './publish.ts';
import { parseRequest, type PublishRequest } from './request.ts';

/** Publishes of one marketplace at once: each holds its files, its archive and its sealed object in memory. */
const publishesAtOnce = 4;

/** What is asked for every plugin of a marketplace; `path` is the folder that has the marketplace. */
export interface MarketplaceRequest extends Omit<PublishRequest, 'item' | 'kind' | 'version' | 'only' | 'versionOtherwise'> {
  /** Put before the name of each plugin: the names of items are one space for all sellers. */
  readonly prefix?: string | undefined;
  /** For plugins that say no version. */
  readonly version?: string | undefined;
}

export type PluginOutcome =
  | { readonly name: string; readonly outcome: PublishReport['outcome']; readonly report: PublishReport }
  | { readonly name: string; readonly outcome: 'failed'; readonly code: Code; readonly message: string; readonly cure: string };

export interface MarketplaceReport {
  readonly published: number;
  readonly unchanged: number;
  readonly failed: number;
  /** In the order of the marketplace. */
  readonly plugins: readonly PluginOutcome[];
}

export interface MarketplaceWatch {
  /** Gets each plugin as it is done. */
  readonly told?: (outcome: PluginOutcome, done: number, total: number) => void;
  /** Aborted: what runs ends, nothing more begins. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Publishes every plugin that a marketplace.json lists, several at once, out of one reading of the commit. A plugin that is
 * refused fails alone, with its reason; the same again publishes what is missing.
 * @throws Failure as publishRelease when the marketplace itself cannot be read, or for a bug of ours; AbortError
 */
export async function publishMarketplace(deps: PublishDeps, request: MarketplaceRequest, { told, signal }: MarketplaceWatch = {}): Promise<MarketplaceReport> {
  const { prefix = '', version, ...shared } = request;
  // The pin, the seller and what is asked of all are judged before anything is read.
  parseRequest({ ...shared, item: `${prefix}x`, kind: 'plugin', versionOtherwise: version });
  const root = parseFolder(request.path);
  await using commit = await deps.source.open({ repository: request.repository, commit: parsePinnedCommit(request.commit) });
  const listed = await readMarketplace(deps, commit, root);

  const outcomes: PluginOutcome[] = [];
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    for (;;) {
      const i = next;
      const plugin = listed[i];
      if (plugin === undefined || signal?.aborted === true) return;
      next += 1;
      const outcome = await publishListed(deps, commit, plugin, { ...shared, prefix, version });
      outcomes[i] = outcome;
      done += 1;
      told?.(outcome, done, listed.length);
    }
  };
  // All of them end before the commit is closed, whatever one throws.
  const workers = await Promise.allSettled(Array.from({ length: publishesAtOnce }, work));
  for (const worker of workers) if (worker.status === 'rejected') throw worker.reason;
  signal?.throwIfAborted();
  const count = (outcome: PluginOutcome['outcome']): number => outcomes.filter((one) => one.outcome === outcome).length;
  return { published: count('published'), unchanged: count('unchanged'), failed: count('failed'), plugins: outcomes };
}

async function readMarketplace(deps: PublishDeps, commit: PinnedCommit, root: string): Promise<ListedPlugin[]> {
  const files = await commit.readFolder(root, deps.limits, [marketplaceFile]);
  const file = files.find(({ path }) => path === marketplaceFile);
  if (file === undefined) throw new Failure('input', 'NOT_FOUND', `There is no ${marketplaceFile} in ${root === '' ? 'the root of the repository' : root}: name its folder with --path`);
  return parseMarketplace(file.bytes, root);
}

async function publishListed(deps: PublishDeps, commit: PinnedCommit, listed: ListedPlugin, request: MarketplaceRequest): Promise<PluginOutcome> {
  const { name } = listed;
  try {
    if (listed.kind === 'refused') throw listed.failure;
    const { path, only, version } = listed.plugin;
    const { prefix = '', version: versionOtherwise, ...shared } = request;
    const report = await publishFrom({ ...deps, report: () => undefined }, commit, parseRequest({
      ...shared, path, only, item: `${prefix}${name}`, kind: 'plugin', versionOtherwise: version ?? versionOtherwise,
    }));
    return { name, outcome: report.outcome, report };
  } catch (error) {
    const failure = asFailure(error);
    if (failure.kind === 'fault') throw error;
    const { code, message, cure } = failure;
    return { name, outcome: 'failed', code, message, cure };
  }
}
