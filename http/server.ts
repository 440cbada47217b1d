import { randomUUID } from 'node:crypto';

import rateLimit from '@fastify/rate-limit';
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';

import { asDatabaseFailure } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { auditDenial } from './audit-denial.ts';
import type { HttpDeps } from './deps.ts';
import { decideAdmission, type Authenticator, type Caller } from './identity.ts';
import { keepBody, bodyOf } from './json-body.ts';
import { describe, serveReference } from './openapi.ts';
import { asRequestFailure, problemOf, problemType, statusOf, statusOfSuccess } from './problem.ts';
import type { Answer, Route } from './route.ts';
import type { WebhookMessage, WebhookVerifier } from './webhook.ts';

export interface HttpLimits {
  /** Requests a minute from one address. */
  readonly addressPerMinute: number;
  /** Requests a minute of one workspace. */
  readonly workspacePerMinute: number;
}

export interface ServerOptions {
  readonly deps: HttpDeps;
  readonly routes: readonly Route[];
  readonly authenticator: Authenticator;
  readonly webhooks: WebhookVerifier;
  readonly limits: HttpLimits;
  /** Addresses or networks of proxies whose X-Forwarded-For is believed. */
  readonly proxies?: readonly string[];
  readonly log: Logger;
  /** Aborts when the server drains. */
  readonly stopping: AbortSignal;
}

/** Largest body of a route that says nothing else (I23). */
export const bodyBytesMax = 65_536;

/** How long a client may take to send its whole request, in milliseconds. */
const requestTimeoutMs = 30_000;

/**
 * The door, not listening yet. Every route has its callers; one that names none is refused here, at start. In order: the
 * limit of the address, who calls, the limit of the workspace, whether they may, and only then the body is read.
 */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = options.log;
  const app = fastify({
    loggerInstance, logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }), genReqId: () => randomUUID(), requestIdHeader: false,
    exposeHeadRoutes: false, bodyLimit: bodyBytesMax, requestTimeout: requestTimeoutMs, trustProxy: options.proxies === undefined || options.proxies.length === 0 ? false : [...options.proxies],
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 400 },
  }).setValidatorCompiler(TypeBoxValidatorCompiler);
  keepBody(app);
  await app.register(rateLimit, { global: false });
  const limitAddress = app.createRateLimit({ max: options.limits.addressPerMinute, timeWindow: 60_000 });
  const callers = new WeakMap<FastifyRequest, Caller>();
  const limitWorkspace = app.createRateLimit({ max: options.limits.workspacePerMinute, timeWindow: 60_000, keyGenerator: (request) => workspaceOf(callers.get(request)) });

  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id);
    await holdLimit(limitAddress, request, reply);
  });
  app.addHook('onResponse', async (request, reply) => { await Promise.resolve(); logAnswer(request, reply, callers.get(request)); });
  app.setErrorHandler(async (error, request, reply) => await sendProblem(asRequestFailure(asDatabaseFailure(error)), request, reply));
  app.setNotFoundHandler(async (request, reply) => await sendProblem(hidden(), request, reply));

  await serveReference(app);
  for (const route of options.routes) {
    const { access, method, path } = route;
    if (access.by === 'identity' && Object.keys(access.callers).length === 0) {
      throw new Failure('fault', 'FAULT', `${method} ${path} declares no callers: name who may, or nobody can`);
    }
    app.route({
      method, url: path, bodyLimit: route.bodyBytesMax ?? bodyBytesMax, schema: describe(route),
      onRequest: async (request, reply) => {
        if (access.by !== 'identity') return;
        const caller = await identify(request, options);
        callers.set(request, caller);
        if (caller.kind === 'workspace') await holdLimit(limitWorkspace, request, reply);
        await admit(route, caller, request, options);
      },
      handler: async (request, reply) => {
        const answer = await answerOf(route, request, reply, callers.get(request), options);
        void reply.code(statusOfSuccess(answer.outcome ?? 'ok')).headers(answer.headers ?? {});
        return await reply.send(answer.body);
      },
    });
  }
  return app;
}

/** Proves who calls. A refusal of something that was shown is put on record; nothing shown is no claim. */
async function identify(request: FastifyRequest, { authenticator, deps }: ServerOptions): Promise<Caller> {
  const { authorization, dpop } = request.headers;
  const [path = ''] = request.url.split('?');
  try {
    return await authenticator.authenticate({ method: request.method, path, authorization, proof: typeof dpop === 'string' ? dpop : undefined });
  } catch (error) {
    if (authorization !== undefined && error instanceof Failure && error.code === 'UNAUTHENTICATED') await recordDenial(request, undefined, error, deps);
    throw error;
  }
}

async function admit(route: Route, caller: Caller, request: FastifyRequest, { deps }: ServerOptions): Promise<void> {
  if (route.access.by !== 'identity') return;
  const params = request.params as Readonly<Record<string, string | undefined>>; // what the router made of the path
  const admission = decideAdmission(route.access.callers, caller, params['workspaceId']);
  if (admission === 'admitted') return;
  const refusal = admission === 'hidden' ? hidden() : new Failure('input', 'FORBIDDEN', 'This route takes a role that the caller has not');
  await recordDenial(request, caller, refusal, deps);
  throw refusal;
}

/** The same words for what is absent and for what belongs to another tenant (I11). */
const hidden = (): Failure => new Failure('input', 'NOT_FOUND', 'There is nothing here');

async function recordDenial(request: FastifyRequest, caller: Caller | undefined, { code }: Failure, { database }: HttpDeps): Promise<void> {
  await auditDenial(database, { caller, method: request.method, path: request.routeOptions.url ?? '', code, requestId: request.id });
}

async function answerOf(route: Route, request: FastifyRequest, reply: FastifyReply, caller: Caller | undefined, options: ServerOptions): Promise<Answer<unknown>> {
  const gone = new AbortController();
  reply.raw.once('close', () => { gone.abort(); });
  const { params, query, body, headers, id: requestId } = request;
  const call = { params, query, body, headers, requestId, signal: AbortSignal.any([gone.signal, options.stopping]) };
  const { access } = route;
  switch (access.by) {
    case 'nothing': return await access.handle(call, options.deps);
    case 'signature': return await access.handle({ ...call, message: await verifyMessage(request, options) }, options.deps);
    case 'identity':
      // The hook above has let nobody past without one.
      if (caller === undefined) throw new Failure('fault', 'FAULT', `${route.method} ${route.path} was reached without a caller`);
      return await access.handle({ ...call, caller }, options.deps);
  }
}

async function verifyMessage(request: FastifyRequest, { webhooks, deps }: ServerOptions): Promise<WebhookMessage> {
  try {
    return await webhooks.verify(request.headers, bodyOf(request));
  } catch (error) {
    if (request.headers['webhook-signature'] !== undefined && error instanceof Failure && error.code === 'UNAUTHENTICATED') await recordDenial(request, undefined, error, deps);
    throw error;
  }
}

type Limit = ReturnType<FastifyInstance['createRateLimit']>;

async function holdLimit(limit: Limit, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const held = await limit(request);
  if (held.isAllowed || !held.isExceeded) return;
  void reply.header('retry-after', String(held.ttlInSeconds));
  throw new Failure('input', 'RATE_LIMITED', `More than ${held.max} requests a minute; try again in ${held.ttlInSeconds} s`);
}

const workspaceOf = (caller: Caller | undefined): string => (caller?.kind === 'workspace' ? caller.workspaceId : '');

async function sendProblem(failure: Failure, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (failure.kind === 'fault') request.log.error({ err: failure.cause ?? failure }, `a request failed: ${failure.message}`);
  if (failure.kind === 'dependency') request.log.warn({ code: failure.code, cure: failure.cure }, failure.message);
  if (failure.code === 'UNAUTHENTICATED') void reply.header('www-authenticate', 'DPoP algs="ES256 EdDSA", Bearer');
  // A body that was not read would be taken for the next request.
  if (!request.raw.complete) void reply.header('connection', 'close');
  return await reply.code(statusOf(failure)).type(problemType).send(Buffer.from(JSON.stringify(problemOf(failure, request.id))));
}

/** One line a request: the route, never the path that was asked for, and no query. */
function logAnswer(request: FastifyRequest, reply: FastifyReply, caller: Caller | undefined): void {
  request.log.info({
    method: request.method, route: request.routeOptions.url ?? null, status: reply.statusCode, ms: Math.round(reply.elapsedTime),
    caller: caller?.kind ?? null,
  }, 'answered');
}
