import type { Applied, AsideRecord, DigestsByPath, Fenced, KeptFile, Survey, VolumeWork, WantedFile } from '../delivery/volume/volume-work.ts';
import { asFailure, Failure } from '../process/failure.ts';
import { passStep, type StepName } from '../process/steps.ts';
import type { Sha256 } from '../schemas/ids.ts';
import type { AgentFiles } from './agent-files.ts';
import type { Overtaken, Reported, Wanted } from './broker-answers.ts';
import type { Broker } from './broker.ts';
import { fetchRelease, type FetchDeps } from './fetch-release.ts';
import { heldFilesOf, readHeld, unionHeld, writeHeld } from './held.ts';
import { attemptReport, failedReport, probedFiles, type Found } from './report.ts';
import type { TrustedKeys } from './key-trust.ts';
import { verifySet, type VerifiedItem } from './verify-set.ts';

export interface BoxDeps extends FetchDeps {
  readonly broker: Pick<Broker, 'grants' | 'permit' | 'report'>;
  readonly volumes: VolumeWork;
  /** Absolute path of the volume's root. */
  readonly volume: string;
  readonly files: AgentFiles;
}

/** An answer of the broker that asks for something. */
export type Assignment = Wanted & { readonly attempt: number };

/** How an attempt ended. `settled`: its folder is in order, and the broker may close it. */
export interface AttemptEnd {
  readonly result: Reported['result'];
  readonly settled: boolean;
}

/** How often files may be looked at again because the permit ran out on the way. */
const permitsMax = 5;

/**
 * One attempt on the box (docs/guides/agent-protocol.md): the file work of the volume worker, by the same code; what may be
 * had, and whether it may become visible, is asked of the broker. Aborting `signal` drops it between two steps: the next
 * attempt's fence puts the folder in order.
 * @throws Failure of kind dependency when the broker cannot be asked, and fault; whatever else fails is reported to it
 */
export async function runBoxAttempt(deps: BoxDeps, wanted: Assignment, trusted: TrustedKeys, signal: AbortSignal): Promise<AttemptEnd> {
  const attempt = new BoxAttempt(deps, wanted, signal);
  try {
    return await attempt.run(trusted);
  } catch (error) {
    const failure = asFailure(error);
    if (signal.aborted || failure.kind === 'fault' || failure.kind === 'dependency') throw error;
    return await attempt.fail(failure);
  }
}

class BoxAttempt {
  readonly #deps: BoxDeps;
  readonly #wanted: Assignment;
  readonly #signal: AbortSignal;
  readonly #receipts: DigestsByPath;
  readonly #known: DigestsByPath;
  #items: readonly VerifiedItem[] = [];
  /** The whole set. */
  #files: readonly WantedFile[] = [];
  /** Paths whose file is in our own tree. */
  readonly #inTree = new Set<string>();
  #record: AsideRecord | null = null;
  #isFenced = false;
  #rescued: Pick<Fenced, 'returned' | 'kept'> = { returned: [], kept: [] };

  constructor(deps: BoxDeps, wanted: Assignment, signal: AbortSignal) {
    this.#deps = deps;
    this.#wanted = wanted;
    this.#signal = signal;
    const byPath = Map.groupBy(wanted.receipts.files, (file) => file.path);
    this.#receipts = new Map([...byPath].map(([path, files]) => [path, files.map((file) => file.sha256)]));
    this.#known = new Map(wanted.known.map((file) => [file.path, file.sha256]));
  }

  async run(trusted: TrustedKeys): Promise<AttemptEnd> {
    const { act, removal, receipts: { directories } } = this.#wanted;
    // Only then does the answer hold the set.
    if (act === 'boot' || act === 'stage' || act === 'probe') this.#items = verifySet(this.#wanted, trusted);
    this.#files = this.#items.flatMap((item) => item.files).map(({ path, sha256, size, executable }) => ({ path, sha256, size, executable }));
    if (await this.#fence() === 'superseded') return { result: 'superseded', settled: false };
    switch (act) {
      case 'boot':
        return await this.#change(this.#files, this.#receipts, []);
      case 'remove':
        // Only what has to go at once is touched.
        return await this.#change([], new Map([...this.#receipts].filter(([path]) => removal.includes(path))), removal);
      case 'stage':
        return await this.#stage();
      case 'probe': {
        const { probes, probe_paths: identity } = this.#wanted;
        const { files, users } = await this.#probe(probes === 'identity' ? this.#files.filter((file) => identity.includes(file.path)) : this.#files);
        return await this.#report({ files, kept: users, removed: [], directories });
      }
      case 'discard':
        return await this.#report({ files: [], kept: [], removed: [], directories });
      case 'none':
        throw new Failure('fault', 'FAULT', 'an attempt without anything to do');
    }
  }

  /** Our tree goes before the failure is told, so that no plaintext waits for the next try (I9). */
  async fail(failure: Failure): Promise<AttemptEnd> {
    if (this.#isFenced) await this.#settle([]);
    const { result } = await this.#deps.broker.report(failedReport(this.#wanted.attempt, failure), this.#signal);
    return { result, settled: this.#isFenced };
  }

  async #fence(): Promise<'fenced' | 'superseded'> {
    const { volume, volumes } = this.#deps;
    const { attempt, asides, adopt } = this.#wanted;
    this.#step('fence');
    const fenced = await volumes.fence({ volume, attempt, asides, adopt: adopt === null ? undefined : { attempt: adopt, files: this.#files } });
    if (fenced.kind === 'superseded') return 'superseded';
    this.#isFenced = true;
    this.#rescued = fenced;
    for (const path of fenced.adopted) this.#inTree.add(path);
    return 'fenced';
  }

  /** Brings the volume to `files`, from `receipts`; all of it again while the permit runs out on the way. */
  async #change(files: readonly WantedFile[], receipts: DigestsByPath, removed: readonly string[]): Promise<AttemptEnd> {
    for (let permits = 0; permits < permitsMax; permits += 1) {
      const survey = await this.#survey(files, receipts);
      const built = await this.#build(survey);
      const applied = built === 'built' ? await this.#permitAndApply(files, survey) : built;
      if (applied === 'expired') continue;
      if (typeof applied === 'string') return await this.#drop(applied);
      const [lacking] = applied.lacking;
      if (lacking !== undefined) throw new Failure('subject', 'MISSING_ASSETS', `${lacking} was taken away while it was being delivered`);
      const { files: read } = await this.#probe(files);
      const end = await this.#report({ files: read, kept: applied.kept, removed, directories: applied.directories });
      if (end.result !== 'permit_expired') return end;
    }
    throw new Failure('subject', 'GRANT_EXPIRED', `the permit ran out ${permitsMax} times before the files stood: the volume is too slow`);
  }

  /** While the agent of the workspace runs: everything is prepared, nothing visible changes (C11). */
  async #stage(): Promise<AttemptEnd> {
    const survey = await this.#survey(this.#files, this.#receipts);
    const built = await this.#build(survey);
    if (built !== 'built') return await this.#drop(built);
    const users = new Set(survey.wanted.flatMap((file) => (file.state === 'user' ? [file.path] : [])));
    return await this.#report({
      files: this.#files.map(({ path, sha256 }) => ({ path, sha256: users.has(path) ? null : sha256 })),
      kept: [...users].map((path): KeptFile => ({ path, reason: 'edited', movedTo: null })),
      removed: [],
      directories: this.#wanted.receipts.directories,
    });
  }

  async #survey(files: readonly WantedFile[], receipts: DigestsByPath): Promise<Survey> {
    const { volume, volumes } = this.#deps;
    const { denied, receipts: { directories } } = this.#wanted;
    this.#step('survey');
    return await volumes.survey({ volume, wanted: files, receipts, known: this.#known, directories, denied });
  }

  /** Fetches the releases of which a file is lacking, one after the other, and builds exactly those files. */
  async #build(survey: Survey): Promise<'built' | Overtaken['result']> {
    const { volume, volumes } = this.#deps;
    const { attempt } = this.#wanted;
    const lacking = new Set(survey.wanted.flatMap(({ path, state }) => ((state === 'absent' || state === 'ours') && !this.#inTree.has(path) ? [path] : [])));
    for (const item of this.#items) {
      if (!item.files.some((file) => lacking.has(file.path))) continue;
      this.#step('fetch');
      const staged = await fetchRelease(this.#deps, attempt, item, lacking, this.#signal);
      if (typeof staged === 'string') return staged;
      this.#step('build');
      const built = await volumes.build({ volume, attempt, files: staged });
      if (built.kind === 'superseded') return 'superseded';
      for (const file of staged) this.#inTree.add(file.path);
    }
    return 'built';
  }

  async #permitAndApply(files: readonly WantedFile[], survey: Survey): Promise<Applied | 'expired' | Overtaken['result']> {
    const { broker, files: kept, volume, volumes } = this.#deps;
    const { attempt } = this.#wanted;
    this.#step('permit:commit');
    const askedAt = process.hrtime.bigint();
    const permitted = await broker.permit(attempt, survey.directoriesToMake, this.#signal);
    if (permitted.result !== 'granted') return permitted.result;
    const { record, expires_in_ms: expiresInMs } = permitted;
    this.#record = record;
    const coming = files.length === 0 ? [] : heldFilesOf(this.#items);
    const union = unionHeld(readHeld(kept), coming, record);
    writeHeld(kept, union);
    this.#step('apply');
    try {
      const applied = await volumes.apply({ volume, attempt, record, wanted: files, notAfter: askedAt + BigInt(expiresInMs) * 1_000_000n });
      if (applied.kind === 'superseded') return 'superseded';
      const gone = new Set(applied.removed);
      const left = files.length === 0 ? union.files.filter((file) => !gone.has(file.path)) : coming;
      writeHeld(kept, { files: left, directories: applied.directories, record, takenOut: union.takenOut });
      return applied;
    } catch (error) {
      if (error instanceof Failure && error.code === 'GRANT_EXPIRED') return 'expired';
      throw error;
    }
  }

  async #probe(files: readonly WantedFile[]): Promise<ReturnType<typeof probedFiles>> {
    const { volume, volumes } = this.#deps;
    this.#step('probe');
    return probedFiles(await volumes.probe({ volume, files }));
  }

  async #report(found: Omit<Found, 'rescued'>): Promise<AttemptEnd> {
    const { attempt } = this.#wanted;
    this.#step('finish:commit');
    const { result, may_hold: mayHold } = await this.#deps.broker.report(attemptReport(attempt, { ...found, rescued: this.#rescued }), this.#signal);
    passStep('finish:committed', attempt);
    // The tree of a staged set waits for the boot; an expired permit is asked for again.
    if (result === 'staged' || result === 'permit_expired') return { result, settled: false };
    await this.#settle(mayHold);
    return { result, settled: true };
  }

  /** Something newer is wanted, or somebody newer is at work: then the folder is theirs. */
  async #drop(result: Overtaken['result']): Promise<AttemptEnd> {
    if (result === 'replan') await this.#settle([]);
    return { result, settled: result === 'replan' };
  }

  async #settle(mayHold: readonly Sha256[]): Promise<void> {
    const { volume, volumes } = this.#deps;
    const { attempt } = this.#wanted;
    passStep('settle', attempt);
    await volumes.settle({ volume, attempt, record: this.#record, mayHold });
  }

  /** Between two steps: where a newer answer of the broker ends the attempt, and where a kill may fall. */
  #step(name: StepName): void {
    this.#signal.throwIfAborted();
    passStep(name, this.#wanted.attempt);
  }
}
