import { setTimeout as delay } from 'node:timers/promises';

import type { SignedKeyList } from '../catalogue/key-list.ts';
import { asFailure, Failure, type FailureKind } from '../process/failure.ts';
import { isCode, type Code } from '../schemas/codes.ts';
import { FieldError, type WorkspaceId } from '../schemas/ids.ts';
import type { AgentClock } from './agent-clock.ts';
import type { AgentKeys } from './agent-keys.ts';
import {
  parseGranted, parseKeyLists, parsePermitted, parseReported, parseWanted, serverTimeOf,
  type Granted, type Permitted, type Reported, type Wanted,
} from './broker-answers.ts';
import { dpopProof } from './dpop.ts';
import type { WorkspaceTokens } from './workspace-tokens.ts';

export interface BrokerOptions {
  /** Base address of the broker, without trailing slash. */
  readonly url: string;
  readonly workspaceId: WorkspaceId;
  readonly keys: AgentKeys;
  readonly tokens: WorkspaceTokens;
  readonly clock: AgentClock;
}

export interface WantedQuery {
  /** Folders found under `.waybill/attempts/`. */
  readonly folders: readonly number[];
  /** The attempt whose folder is in order since its report. */
  readonly settled?: number | undefined;
  /** What was sold was taken out while nobody could be asked. */
  readonly takenOut?: boolean;
  /** The last answer's: answers when something has changed since. */
  readonly etag?: string | undefined;
}

export interface WantedAnswer {
  readonly wanted: Wanted;
  readonly etag: string;
}

/** Longest time in seconds that the broker may hold an answer back. */
const waitSeconds = 25;
/** Deadlines in milliseconds of an answer: of the long poll beyond its wait, and of everything else. */
const pollGraceMs = 10_000;
const answerMs = 15_000;
/** A POST is repeated with the same body, at most this long, in milliseconds: after that its attempt is forgotten. */
const repeatMs = 30_000;
const foldersMax = 100;
/** Longest answer that is read. Manifests of a large set are the most of it. */
const answerBytesMax = 64 * 1024 * 1024;

/**
 * The broker, as the agent sees it (docs/guides/agent-protocol.md). Failures: dependency UNAVAILABLE when it cannot be
 * reached or does not answer in time or form; else the code of its problem, of kind dependency where waiting helps and
 * subject where it does not.
 */
export class Broker {
  readonly #options: BrokerOptions;

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  /** What should be here. undefined: nothing changed since `etag`. */
  async wanted({ folders, settled, takenOut = false, etag }: WantedQuery, signal: AbortSignal): Promise<WantedAnswer | undefined> {
    const query = new URLSearchParams();
    if (folders.length > 0) query.set('folders', folders.toSorted((a, b) => b - a).slice(0, foldersMax).join(','));
    if (settled !== undefined) query.set('settled', String(settled));
    if (takenOut) query.set('taken_out', 'sold');
    const headers = etag === undefined ? {} : { 'if-none-match': etag, prefer: `wait=${waitSeconds}` };
    const deadlineMs = etag === undefined ? answerMs : waitSeconds * 1000 + pollGraceMs;
    const answer = await this.#ask('GET', `wanted${query.size === 0 ? '' : `?${query.toString()}`}`, { headers, deadlineMs, signal });
    if (answer.status === 304) return undefined;
    const wanted = understood(parseWanted, answer.body);
    if (wanted.workspace_id !== this.#options.workspaceId) throw notUnderstood('it speaks of another workspace');
    return { wanted, etag: answer.etag ?? '' };
  }

  async grants(attempt: number, releases: readonly { readonly item_id: string; readonly version: string }[], signal: AbortSignal): Promise<Granted> {
    const { publicJwk } = this.#options.keys.encryption;
    return understood(parseGranted, await this.#post('fetches', { attempt, releases, encryption_key: publicJwk }, signal));
  }

  /** `making`: folders that *apply* will have to make, parents first. */
  async permit(attempt: number, making: readonly string[], signal: AbortSignal): Promise<Permitted> {
    return understood(parsePermitted, await this.#post('permits', { attempt, making }, signal));
  }

  async report(body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Reported> {
    return understood(parseReported, await this.#post('probes', body, signal));
  }

  /** The key lists after a version, oldest first. Needs no proof of who asks. */
  async keyLists(after: number, signal: AbortSignal): Promise<readonly SignedKeyList[]> {
    const url = new URL(`${this.#options.url}/v1/keys?after=${after}`);
    const answer = await this.#send(url, { method: 'GET', headers: {} }, answerMs, signal);
    if (answer.status !== 200) throw problemFailure(answer);
    return understood(parseKeyLists, answer.body);
  }

  async #post(route: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown> {
    const startedAt = performance.now();
    for (let tries = 0; ; tries += 1) {
      try {
        return (await this.#ask('POST', route, { body: JSON.stringify(body), deadlineMs: answerMs, signal })).body;
      } catch (error) {
        const failure = asFailure(error);
        const pauseMs = retryPauseMs(tries, Math.random());
        if (failure.kind !== 'dependency' || signal.aborted || performance.now() - startedAt + pauseMs > repeatMs) throw error;
        await delay(pauseMs, undefined, { signal });
      }
    }
  }

  /** One request with its proof; once more with a new token when the broker says that this one is over. */
  async #ask(method: 'GET' | 'POST', route: string, { headers = {}, body, deadlineMs, signal }: Asking): Promise<Answer> {
    const { url: base, workspaceId, keys, tokens, clock } = this.#options;
    const url = new URL(`${base}/v1/workspaces/${workspaceId}/${route}`);
    let token = await tokens.current(signal);
    for (;;) {
      const proof = await dpopProof(keys, method, url, token, clock.nowMs());
      const answer = await this.#send(url, {
        method,
        headers: { ...headers, authorization: `DPoP ${token}`, dpop: proof, accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body }),
      }, deadlineMs, signal);
      if (answer.status === 200 || answer.status === 304) return answer;
      const failure = problemFailure(answer);
      // The same token may pass later: the pipeline may not have heard yet of a workspace that is new.
      const newer = tokenIsOver.has(failure.code) ? await tokens.current(signal) : token;
      if (newer === token) throw failure;
      token = newer;
    }
  }

  async #send(url: URL, request: RequestInit, deadlineMs: number, signal: AbortSignal): Promise<Answer> {
    const { clock } = this.#options;
    try {
      // Only the broker's own word: no redirect leads elsewhere (C15).
      const response = await fetch(url, { ...request, redirect: 'error', signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]) });
      const text = await readBounded(response);
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      clock.hear(serverTimeOf(body) ?? Date.parse(response.headers.get('date') ?? ''));
      return { status: response.status, etag: response.headers.get('etag'), body };
    } catch (error) {
      if (signal.aborted || error instanceof Failure) throw error;
      throw new Failure('dependency', 'UNAVAILABLE', `the broker at ${url.origin} cannot be asked: ${reasonOf(error)}`, { cause: error });
    }
  }
}

interface Asking {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly etag: string | null;
  readonly body: unknown;
}

/** The token, not the workspace, is refused: another token may pass. */
const tokenIsOver: ReadonlySet<Code> = new Set<Code>(['UNAUTHENTICATED', 'STALE_VERSION']);

/** 1 s doubled up to 60 s, with full jitter; `random` in [0, 1). */
export const retryPauseMs = (tries: number, random: number): number => Math.round(Math.min(60_000, 1_000 * 2 ** Math.min(tries, 6)) * random);

async function readBounded(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body; // lib.dom leaves its pieces untyped
  if (body === null) return '';
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > answerBytesMax) throw notUnderstood(`it is longer than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** A problem of the broker as a Failure: its code decides, never its text (protocol, "Errors and retries"). */
function problemFailure({ status, body }: Answer): Failure {
  const problem = typeof body === 'object' && body !== null ? body : {};
  const code = 'code' in problem && typeof problem.code === 'string' && isCode(problem.code) ? problem.code : 'UNAVAILABLE';
  const detail = 'detail' in problem && typeof problem.detail === 'string' ? problem.detail : 'no reason given';
  const kind: FailureKind = status === 429 || status >= 500 || code === 'UNAVAILABLE' || tokenIsOver.has(code) ? 'dependency' : 'subject';
  return new Failure(kind, code, `the broker answers ${status} ${code}: ${detail.slice(0, 500)}`);
}

function understood<T>(parse: (body: unknown) => T, body: unknown): T {
  try {
    return parse(body);
  } catch (error) {
    if (error instanceof FieldError) throw notUnderstood(error.message, error);
    throw error;
  }
}

const notUnderstood = (reason: string, cause?: unknown): Failure =>
  new Failure('dependency', 'UPSTREAM', `the broker's answer cannot be used: ${reason}`, { cause });

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error.cause instanceof Error ? error.cause : error;
  return 'code' in inner && typeof inner.code === 'string' ? inner.code : inner.message;
}
