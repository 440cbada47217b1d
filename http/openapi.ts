import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify, { type FastifyInstance, type FastifySchema } from 'fastify';
import Type from 'typebox';

import { codes, type Code } from '../schemas/codes.ts';
import { problemType, statusOfCode, statusOfSuccess } from './problem.ts';
import type { Access, Route } from './route.ts';

/** RFC 9457, with the stable code and the id under which the request stands in the log. */
const problemId = 'Problem';
const problem = Type.Object({
  type: Type.String(), title: Type.String(), status: Type.Integer(), code: Type.String({ description: 'A code of docs/codes.md' }),
  detail: Type.String(), request_id: Type.String(),
}, { $id: problemId });

/** Codes that a route may answer with whatever it does. */
const ofEveryRoute: readonly Code[] = ['RATE_LIMITED', 'UNAVAILABLE', 'FAULT'];
const ofAccess = { identity: ['UNAUTHENTICATED', 'FORBIDDEN', 'NOT_FOUND'], signature: ['UNAUTHENTICATED'], nothing: [] } as const satisfies Record<Access['by'], readonly Code[]>;

/** One route as Fastify validates it and as the reference shows it: the same object. */
export function describe(route: Route): FastifySchema {
  const { params, query, body, summary, access, path } = route;
  return {
    summary, description: whoMay(access), tags: [tagOf(path)], security: securityOf(access),
    response: { ...successesOf(route), ...problemsOf(route) },
    ...(params !== undefined && { params }), ...(query !== undefined && { querystring: query }), ...(body !== undefined && { body }),
  };
}

const successesOf = ({ answer, successes = ['ok'] }: Route): Record<string, unknown> => Object.fromEntries(successes.map((success) => [
  String(statusOfSuccess(success)), success === 'not-modified' ? { type: 'null', description: success } : { description: success, ...answer },
]));

function problemsOf({ codes: own = [], params, query, body, access }: Route): Record<string, unknown> {
  const hasInput = params !== undefined || query !== undefined || body !== undefined;
  const all = new Set<Code>([...own, ...ofAccess[access.by], ...(hasInput ? ['FIELD_INVALID'] as const : []), ...(body === undefined ? [] : ['TOO_LARGE'] as const), ...ofEveryRoute]);
  return Object.fromEntries([...Map.groupBy(all, statusOfCode)].toSorted(([a], [b]) => a - b).map(([status, ofStatus]) => [String(status), {
    description: ofStatus.map((code) => `${code}: ${codes[code].meaning}`).join(' '), content: { [problemType]: { schema: { $ref: `${problemId}#` } } },
  }]));
}

function whoMay(access: Access): string {
  if (access.by === 'nothing') return 'For everybody.';
  if (access.by === 'signature') return 'For whoever signs with the secret of the webhooks.';
  const { workspace, operator, service } = access.callers;
  return [
    ...(workspace === undefined ? [] : [workspace === 'own' ? 'the workspace itself' : 'every workspace']),
    ...(operator === undefined ? [] : [`operators with the role ${operator}`]), ...(service === undefined ? [] : [`services with the role ${service}`]),
  ].join(', ').replace(/^/u, 'For ').concat('.');
}

function securityOf(access: Access): Record<string, string[]>[] {
  if (access.by === 'nothing') return [];
  if (access.by === 'signature') return [{ webhook: [] }];
  const { workspace, operator, service } = access.callers;
  return [...(workspace === undefined ? [] : [{ workspace: [] }]), ...(operator === undefined && service === undefined ? [] : [{ bearer: [] }])];
}

/** `workspaces` of `/v1/workspaces/…`, and `process` for what tells of the process. */
const tagOf = (path: string): string => /^\/v1\/(?<tag>[a-z-]+)/u.exec(path)?.groups?.['tag'] ?? 'process';

async function registerDocument(app: FastifyInstance): Promise<void> {
  app.addSchema(problem);
  await app.register(swagger, {
    refResolver: { buildLocalReference: (schema, _base, _fragment, i) => (typeof schema['$id'] === 'string' ? schema['$id'] : `def-${String(i)}`) },
    openapi: {
      openapi: '3.1.0',
      info: { title: 'waybill', version: '1', description: 'Delivers marketplace templates and plugins to agent workspaces. Every refusal is problem+json with a stable code.' },
      components: {
        securitySchemes: {
          workspace: { type: 'http', scheme: 'DPoP', description: 'A token of the control plane (EdDSA or ES256, at most 15 minutes) with a DPoP proof (RFC 9449) by the key that it names' },
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'A token of the issuer of operators or services, with roles' },
          webhook: { type: 'apiKey', in: 'header', name: 'webhook-signature', description: 'Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature' },
        },
      },
    },
  });
}

/** `/openapi.json`, and a page to read it by that needs nothing from elsewhere. Call it before the routes are mounted. */
export async function serveReference(app: FastifyInstance): Promise<void> {
  await registerDocument(app);
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => await reply.code(statusOfSuccess('ok')).send(app.swagger()));
}

/** The document of these routes, without a server. */
export async function openApiDocument(routes: readonly Route[]): Promise<object> {
  const app = fastify({ exposeHeadRoutes: false }).setValidatorCompiler(TypeBoxValidatorCompiler);
  await registerDocument(app);
  for (const route of routes) app.route({ method: route.method, url: route.path, schema: describe(route), handler: () => undefined });
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}
