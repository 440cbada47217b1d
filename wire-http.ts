import { readFile } from 'node:fs/promises';
import { isAbsolute } from 'node:path';

import { createGuardedFetch } from './adapters/guarded-fetch/guarded-fetch.ts';
import { createAuthenticator, type AuthenticatorOptions } from './http/authenticate.ts';
import type { HttpDeps } from './http/deps.ts';
import { IssuerKeys, type KeySetSource } from './http/issuer-keys.ts';
import type { Issuer } from './http/jwt.ts';
import { pruneProofs } from './http/proof-records.ts';
import { routes } from './http/routes.ts';
import { runHttp } from './http/run-http.ts';
import { createWebhookVerifier } from './http/webhook.ts';
import type { Database } from './process/database.ts';
import { Failure } from './process/failure.ts';
import type { Logger } from './process/log.ts';
import { wireBox } from './wire-box.ts';
import { wireMetrics } from './wire-metrics.ts';
import { hostOf } from './wire-sources.ts';
import { wireCatalogueLookup, wireDatabase, type Needs, type Wired } from './wire.ts';

/** The HTTP door, with a connection pool for each of the databases that it writes to. `onListening` hears its address. */
export function wireHttp(config: Needs<'http'>, log: Logger, onListening?: (url: string) => void): Wired {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'http'));
  const controlPlane = resources.use(wireDatabase({ databaseUrl: config.controlPlaneDatabaseUrl, databaseSchema: config.controlPlaneDatabaseSchema }, 'http'));
  const billing = resources.use(wireDatabase({ databaseUrl: config.billingDatabaseUrl, databaseSchema: config.billingDatabaseSchema }, 'http'));
  const issuers = wireIssuers(config, resources);
  const deps: HttpDeps = {
    database: own, controlPlane, billing, catalogue: wireCatalogueLookup(own), box: wireBox(config, own, resources), metrics: resources.use(wireMetrics(config)),
    checks: {
      database: async () => { await ask(own); },
      'control plane database': async () => { await ask(controlPlane); },
      'billing database': async () => { await ask(billing); },
      'keys of the issuers': async () => { await Promise.all([issuers.workspaces, ...issuers.bearers.map(({ issuer }) => issuer)].map(async ({ keys }) => await keys.ensure())); },
    },
  };
  let listening = '';
  const authenticator = createAuthenticator({ database: own, audience: config.audience, origin: () => config.httpUrl ?? listening, ...issuers });
  const limits = { addressPerMinute: config.addressPerMinute, workspacePerMinute: config.workspacePerMinute };
  const options = { deps, routes, authenticator, webhooks: createWebhookVerifier(own, config.webhookSecrets), log, proxies: config.httpProxies, limits };
  const listen = {
    address: config.httpAddress, port: config.httpPort,
    onListening: (url: string) => {
      listening = url;
      onListening?.(url);
    },
  };
  return {
    name: 'http',
    run: async (signal) => { await Promise.all([runHttp(options, listen, signal), pruneProofs(own, log, signal)]); },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}

const ask = async (database: Database): Promise<void> => { await database.raw('select 1'); };

/** Whose tokens count. Three names, so that no issuer speaks for another's callers. */
function wireIssuers(config: Needs<'http'>, resources: AsyncDisposableStack): Pick<AuthenticatorOptions, 'workspaces' | 'bearers'> {
  const issuerOf = (name: string, place: string): Issuer => ({ name, keys: new IssuerKeys(keySetSource(place, config.fetchHosts, resources)) });
  const bearerOf = (kind: 'operator' | 'service', name: string | undefined, place: string | undefined): AuthenticatorOptions['bearers'] => {
    if (name === undefined && place === undefined) return [];
    if (name === undefined || place === undefined) {
      const variable = `WAYBILL_${kind.toUpperCase()}`;
      throw new Failure('input', 'CONFIG_INVALID', `${variable}_ISSUER and ${variable}_KEYS belong together: set both, or none to let no ${kind} in`);
    }
    return [{ kind, issuer: issuerOf(name, place) }];
  };
  const bearers = [...bearerOf('operator', config.operatorIssuer, config.operatorKeys), ...bearerOf('service', config.serviceIssuer, config.serviceKeys)];
  const names = [config.workspaceIssuer, ...bearers.map(({ issuer }) => issuer.name)];
  if (new Set(names).size < names.length) {
    throw new Failure('input', 'CONFIG_INVALID', `The issuers of workspaces, operators and services should have three names, but are ${names.join(', ')}`);
  }
  return { workspaces: issuerOf(config.workspaceIssuer, config.workspaceKeys), bearers };
}

/** Largest key set, in bytes, and deadline of fetching one, in milliseconds. */
const keySetBytesMax = 65_536;
const keySetDeadlineMs = 5_000;

/** A key set from a file, or through the guarded client (C15): its own host, and no other. */
function keySetSource(place: string, privateHosts: readonly string[], resources: AsyncDisposableStack): KeySetSource {
  if (isAbsolute(place)) {
    return {
      load: async () => {
        try {
          return await readFile(place, 'utf8');
        } catch (error) {
          throw new Failure('dependency', 'UNAVAILABLE', `The key set ${place} cannot be read`, { cause: error });
        }
      },
    };
  }
  const client = resources.adopt(
    createGuardedFetch({ hosts: [hostOf(place)], privateHosts: [...privateHosts], timeoutMs: keySetDeadlineMs, idleMs: keySetDeadlineMs }),
    async (opened) => { await opened.close(); },
  );
  return {
    load: async () => {
      const { status, body } = await client.get({ url: place, headers: { accept: 'application/json' }, bytesMax: keySetBytesMax });
      if (status !== 200) throw new Failure('dependency', 'UPSTREAM', `The key set at ${new URL(place).origin} was answered with status ${String(status)}`);
      return body.toString('utf8');
    },
  };
}
