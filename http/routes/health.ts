import Type from 'typebox';

import { definePublicRoute } from '../route.ts';

export const healthRoute = definePublicRoute({
  method: 'GET',
  path: '/healthz',
  summary: 'Whether the process answers',
  answer: Type.Object({ ok: Type.Boolean() }),
  handle: async () => await Promise.resolve({ body: { ok: true } }),
});
