import Type from 'typebox';

import { definePublicRoute } from '../route.ts';

/** No id of anybody is in them (E1). Still nobody else's business: keep the path inside at the proxy. */
export const metricsRoute = definePublicRoute({
  method: 'GET',
  path: '/metrics',
  summary: 'Metrics in Prometheus\' text format',
  answer: Type.String(),
  handle: async (_request, { metrics }) => ({ headers: { 'content-type': metrics.contentType }, body: await metrics.text() }),
});
