import type { FastifyInstance, FastifyRequest } from 'fastify';

/** The text of bodies, for as long as their requests live: a signature is over the bytes, not over what they say. */
const bodies = new WeakMap<FastifyRequest, string>();

/** JSON and nothing else; `__proto__` and `constructor` in it are refused. */
export function keepBody(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    bodies.set(request, body.toString());
    void parse(request, body.toString(), done);
  });
}

/** The body as it came; empty when there was none. */
export const bodyOf = (request: FastifyRequest): string => bodies.get(request) ?? '';
