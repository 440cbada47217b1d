import type { Authenticator } from './http/identity.ts';
import { routes } from './http/routes.ts';
import { runHttp } from './http/run-http.ts';
import type { WebhookVerifier } from './http/webhook.ts';
import type { Database } from './process/database.ts';
import { Failure } from './process/failure.ts';
import type { Logger } from './process/log.ts';
import { wireCatalogueLookup, wireDatabase, type Needs, type Wired } from './wire.ts';

/** The HTTP door, with a connection pool for each of the databases that it writes to. */
export function wireHttp(config: Needs<'http'>, log: Logger, onListening?: (url: string) => void): Wired {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'http'));
  const controlPlane = resources.use(wireDatabase({ databaseUrl: config.controlPlaneDatabaseUrl, databaseSchema: config.controlPlaneDatabaseSchema }, 'http'));
  const billing = resources.use(wireDatabase({ databaseUrl: config.billingDatabaseUrl, databaseSchema: config.billingDatabaseSchema }, 'http'));
  const answers = async (asked: Database): Promise<void> => { await asked.raw('select 1'); };
  const deps = {
    database: own, controlPlane, billing, catalogue: wireCatalogueLookup(own),
    checks: { database: async () => { await answers(own); }, 'control plane database': async () => { await answers(controlPlane); }, 'billing database': async () => { await answers(billing); } },
  };
  return {
    name: 'http',
    run: async (signal) => {
      await runHttp(
        { deps, routes, authenticator, webhooks, log, proxies: config.httpProxies, limits: { addressPerMinute: config.addressPerMinute, workspacePerMinute: config.workspacePerMinute } },
        { address: config.httpAddress, port: config.httpPort, ...(onListening !== undefined && { onListening }) }, signal,
      );
    },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}

/** No issuer is known yet: nobody is proved. */
const authenticator: Authenticator = {
  authenticate: async () => await Promise.reject(new Failure('input', 'UNAUTHENTICATED', 'No issuer of tokens is configured')),
};
const webhooks: WebhookVerifier = {
  verify: async () => await Promise.reject(new Failure('input', 'UNAUTHENTICATED', 'No secret of webhooks is configured')),
};
