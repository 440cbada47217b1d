import type { Route } from './route.ts';
import { auditRoute } from './routes/audit.ts';
import { boxFetchesRoute } from './routes/box-fetches.ts';
import { boxPermitsRoute } from './routes/box-permits.ts';
import { boxProbesRoute } from './routes/box-probes.ts';
import { boxWantedRoute } from './routes/box-wanted.ts';
import { catalogueItemRoute } from './routes/catalogue-item.ts';
import { installPluginRoute, uninstallPluginRoute } from './routes/change-plugins.ts';
import { changeTemplateRoute } from './routes/change-template.ts';
import { deadLettersRoute } from './routes/dead-letters.ts';
import { deliveriesRoute } from './routes/deliveries.ts';
import { entitlementsRoute } from './routes/entitlements.ts';
import { explainRoute } from './routes/explain.ts';
import { healthRoute } from './routes/health.ts';
import { metricsRoute } from './routes/metrics.ts';
import { keysRoute } from './routes/keys.ts';
import { purchasesRoute } from './routes/purchases.ts';
import { readinessRoute } from './routes/readiness.ts';
import { readyRoute } from './routes/ready.ts';
import { revocationsRoute } from './routes/revocations.ts';

/** Every route that there is. */
export const routes: readonly Route[] = [
  changeTemplateRoute, installPluginRoute, uninstallPluginRoute,
  readinessRoute,
  boxWantedRoute, boxFetchesRoute, boxPermitsRoute, boxProbesRoute,
  catalogueItemRoute,
  entitlementsRoute, deliveriesRoute, auditRoute, deadLettersRoute, explainRoute,
  purchasesRoute, revocationsRoute,
  keysRoute,
  healthRoute, readyRoute, metricsRoute,
];
