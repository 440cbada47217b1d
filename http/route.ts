import type { Static, TSchema } from 'typebox';

import type { Code } from '../schemas/codes.ts';
import type { HttpDeps } from './deps.ts';
import type { Caller, Callers } from './identity.ts';
import type { Success } from './problem.ts';
import type { WebhookMessage } from './webhook.ts';

/** What a handler says. Without `outcome`: ok. `not-modified` has no body. */
export interface Answer<Body> {
  readonly outcome?: Success;
  readonly body?: Body;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What every handler gets. Only what its schema took is in `params`, `query` and `body`. */
interface Request<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Names in lower case. Not validated: parse what is used. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly requestId: string;
  /** Aborts when the caller has gone or the server drains: whoever waits for something answers at once then. */
  readonly signal: AbortSignal;
}

/** A request of a proved caller. */
export interface Call<Params = unknown, Query = unknown, Body = unknown> extends Request<Params, Query, Body> {
  readonly caller: Caller;
}

/** A request with a signature of billing's provider over its body. */
export interface SignedCall<Params = unknown, Query = unknown, Body = unknown> extends Request<Params, Query, Body> {
  readonly message: WebhookMessage;
}

type Shape<P extends TSchema, Q extends TSchema, B extends TSchema, A extends TSchema> = {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** Parameters as in `/v1/workspaces/:workspaceId`. */
  readonly path: string;
  readonly summary: string;
  readonly params?: P;
  /** All of them text: a query has nothing else. */
  readonly query?: Q;
  readonly body?: B;
  readonly answer: A;
  /** How it may answer when nothing is refused. Default: ok. */
  readonly successes?: readonly Success[];
  /** Codes beyond those that every route may answer with. */
  readonly codes?: readonly Code[];
  /** Default 64 KiB. */
  readonly bodyBytesMax?: number;
};

/** A route as the server mounts it. */
export interface Route extends Shape<TSchema, TSchema, TSchema, TSchema> {
  readonly access: Access;
}

/** Who gets in, and what answers. anybody: needs no identity and tells nothing of a tenant. signed: by a webhook's signature. */
export type Access =
  | { readonly by: 'identity'; readonly callers: Callers; readonly handle: (call: Call, deps: HttpDeps) => Promise<Answer<unknown>> }
  | { readonly by: 'signature'; readonly handle: (call: SignedCall, deps: HttpDeps) => Promise<Answer<unknown>> }
  | { readonly by: 'nothing'; readonly handle: (request: Request<unknown, unknown, unknown>, deps: HttpDeps) => Promise<Answer<unknown>> };

type Of<S extends TSchema> = TSchema extends S ? undefined : Static<S>;

/** A route for proved callers: deny by default, so `callers` names who may. */
export function defineRoute<A extends TSchema, P extends TSchema = TSchema, Q extends TSchema = TSchema, B extends TSchema = TSchema>(
  { callers, handle, ...shape }: Shape<P, Q, B, A> & {
    readonly callers: Callers;
    readonly handle: (call: Call<Of<P>, Of<Q>, Of<B>>, deps: HttpDeps) => Promise<Answer<Static<A>>>;
  },
): Route {
  // The server validates by these schemas before it calls.
  return { ...shape, access: { by: 'identity', callers, handle: async (call, deps) => await handle(call as Call<Of<P>, Of<Q>, Of<B>>, deps) } };
}

/** A route for whoever signs with the secret of billing's provider. */
export function defineSignedRoute<A extends TSchema, B extends TSchema = TSchema>(
  { handle, ...shape }: Shape<TSchema, TSchema, B, A> & { readonly handle: (call: SignedCall<undefined, undefined, Of<B>>, deps: HttpDeps) => Promise<Answer<Static<A>>> },
): Route {
  return { ...shape, access: { by: 'signature', handle: async (call, deps) => await handle(call as SignedCall<undefined, undefined, Of<B>>, deps) } };
}

/** A route without identity. It tells of this process, never of a tenant. */
export function definePublicRoute<A extends TSchema, Q extends TSchema = TSchema>(
  { handle, ...shape }: Shape<TSchema, Q, TSchema, A> & {
    readonly handle: (request: { readonly signal: AbortSignal; readonly query: Of<Q> }, deps: HttpDeps) => Promise<Answer<Static<A>>>;
  },
): Route {
  // The server validates by the schema before it calls.
  return { ...shape, access: { by: 'nothing', handle: async (request, deps) => await handle({ ...request, query: request.query as Of<Q> }, deps) } };
}
