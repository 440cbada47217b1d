import pRetry from 'p-retry';
import { Agent, buildConnector, request } from 'undici';

import type { ArtifactFetcher } from '../../delivery/sources/brokered.ts';
import { Failure } from '../../process/failure.ts';
import { isAddressAllowed, type AddressPolicy } from './address-policy.ts';
import { addressOf, parseAllowedUrl, showUrl, type AllowedUrl, type HostLists } from './allowed-hosts.ts';
import { addressRefused, guardedLookup, systemResolve, type Resolve } from './guarded-lookup.ts';

export interface GuardedFetchOptions extends HostLists {
  /** Deadline of a whole fetch, retries among it (C14). */
  readonly timeoutMs: number;
  /** Longest time without a byte, to connect, to a first header or between two pieces of the body. */
  readonly idleMs: number;
  readonly resolve?: Resolve;
}

type Get = Parameters<ArtifactFetcher['get']>[0];
type Answer = Awaited<ReturnType<ArtifactFetcher['get']>>;

/**
 * The one HTTP client for what others name (C15): host allowlist; the literal, every DNS answer and the address that was
 * connected are judged; no redirects; no proxy from the environment; a deadline, an idle limit and a byte limit. GET only,
 * so a failed connection or an unwell server is tried again twice, shortly.
 */
export function createGuardedFetch(options: GuardedFetchOptions): ArtifactFetcher & { close(): Promise<void> } {
  const agents = { public: guardedAgent('public', options), private: guardedAgent('private', options) };
  return {
    async get(wanted) {
      const target = parseAllowedUrl(wanted.url, options);
      checkLiteral(target);
      const deadline = AbortSignal.timeout(options.timeoutMs);
      const signal = wanted.signal === undefined ? deadline : AbortSignal.any([deadline, wanted.signal]);
      try {
        return await pRetry(async () => await getOnce(agents[target.policy], target.url, wanted, signal), {
          retries: 2, minTimeout: 100, maxTimeout: 2_000, randomize: true, signal,
          shouldRetry: ({ error }) => error instanceof Failure && error.kind === 'dependency',
        });
      } catch (error) {
        if (wanted.signal?.aborted === true || !deadline.aborted) throw error;
        throw unavailable(target.url, `not finished within ${options.timeoutMs} ms`, error);
      }
    },
    async close() {
      await Promise.all([agents.public.destroy(), agents.private.destroy()]);
    },
  };
}

function checkLiteral({ url, policy }: AllowedUrl): void {
  const address = addressOf(url);
  if (address !== undefined && !isAddressAllowed(address, policy)) throw addressRefused(url.hostname, address);
}

/** An agent whose sockets only ever reach addresses of the policy. Not one of undici's that read the environment. */
function guardedAgent(policy: AddressPolicy, { idleMs, resolve = systemResolve }: GuardedFetchOptions): Agent {
  const connect = buildConnector({ timeout: idleMs, lookup: guardedLookup(policy, resolve), allowH2: false });
  return new Agent({
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
    connect: (target, callback) => {
      connect(target, (error, socket) => {
        // undici leaves the socket out of a failure, whatever its types say.
        if (error !== null) callback(error, null);
        else if (isAddressAllowed(socket.remoteAddress ?? '', policy)) callback(null, socket);
        else {
          callback(addressRefused(target.hostname, socket.remoteAddress ?? 'nowhere'), null);
          socket.destroy();
        }
      });
    },
  });
}

async function getOnce(dispatcher: Agent, url: URL, wanted: Get, signal: AbortSignal): Promise<Answer> {
  try {
    const { statusCode, headers, body } = await request(url, { dispatcher, method: 'GET', headers: { ...wanted.headers }, signal });
    body.on('error', () => undefined); // one that is left unread reports that it was
    if (statusCode >= 300 && statusCode < 400) {
      body.destroy();
      throw new Failure('subject', 'ADDRESS_REFUSED', `The fetch is refused: ${showUrl(url)} redirects (${statusCode})`, {
        cure: 'Name the address that answers by itself: redirects are never followed.',
      });
    }
    if (Number(headers['content-length'] ?? 0) > wanted.bytesMax) {
      body.destroy();
      throw tooLarge(url, wanted.bytesMax);
    }
    const content = await readBounded(url, body, wanted.bytesMax);
    if (statusCode === 429 || statusCode >= 500) {
      throw new Failure('dependency', 'UPSTREAM', `${showUrl(url)} answered with status ${statusCode}`);
    }
    return { status: statusCode, body: content };
  } catch (error) {
    throw signal.aborted ? error : asFetchFailure(url, error);
  }
}

async function readBounded(url: URL, body: AsyncIterable<unknown>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) { // no encoding is set
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(url, bytesMax); // leaving the loop destroys the body
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(url: URL, bytesMax: number): Failure {
  return new Failure('subject', 'TOO_LARGE', `${showUrl(url)} is longer than ${bytesMax} bytes`);
}

function asFetchFailure(url: URL, error: unknown): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  // Several addresses were tried: any refusal among their errors is the answer.
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error.cause];
  const refusal = errors.find((inner) => inner instanceof Failure);
  if (refusal !== undefined) return refusal;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return unavailable(url, code, error);
}

function unavailable(url: URL, reason: string, cause: unknown): Failure {
  return new Failure('dependency', 'UNAVAILABLE', `${showUrl(url)}: ${reason}`, { cause });
}
