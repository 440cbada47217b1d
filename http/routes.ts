import type { Route } from './route.ts';
import { catalogueItemRoute } from './routes/catalogue-item.ts';
import { healthRoute } from './routes/health.ts';
import { readyRoute } from './routes/ready.ts';

/** Every route that there is. */
export const routes: readonly Route[] = [
  catalogueItemRoute,
  healthRoute, readyRoute,
];
