import { randomBytes, randomUUID } from 'node:crypto';

import type { FastifyInstance } from 'fastify';
import { Webhook } from 'standardwebhooks';

import { createAuthenticator } from '../../http/authenticate.ts';
import type { HttpDeps } from '../../http/deps.ts';
import type { Role } from '../../http/identity.ts';
import { IssuerKeys } from '../../http/issuer-keys.ts';
import { routes } from '../../http/routes.ts';
import { createServer, type HttpLimits } from '../../http/server.ts';
import { createWebhookVerifier } from '../../http/webhook.ts';
import type { Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import { provisionWorkspace } from '../../producers/control-plane.ts';
import { isolate } from './isolated.ts';
import { openCatalogue, openProducers } from './producer-databases.ts';
import { unusedBox } from './unused-box.ts';
import { claimsOfWorkspace, issue, keySetOf, makeBoxKeys, makeKey, prove, seconds, type BoxKeys, type TestKey } from './tokens.ts';

export const issuers = { workspace: 'https://control-plane.test', operator: 'https://people.test', service: 'https://services.test' } as const;

/** A workspace that was provisioned, whose record has arrived, with an agent of its own. */
export interface Box extends BoxKeys {
  readonly workspaceId: string;
  readonly orgId: string;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A door that listens, on real databases, with issuers whose keys the test has. */
export class HttpWorld {
  readonly pipeline: Database;
  readonly producers: Database;
  readonly url: string;
  readonly keys: Readonly<Record<keyof typeof issuers, TestKey>>;
  /** A secret of the webhooks. */
  readonly webhookSecret: string;
  readonly catalogue: CatalogueLookup;
  readonly databaseUrl: string;
  readonly #app: FastifyInstance;
  readonly #close: () => Promise<void>;

  private constructor(parts: { pipeline: Database; producers: Database; url: string; keys: HttpWorld['keys']; webhookSecret: string; catalogue: CatalogueLookup; databaseUrl: string; app: FastifyInstance; close: () => Promise<void> }) {
    this.pipeline = parts.pipeline;
    this.producers = parts.producers;
    this.url = parts.url;
    this.keys = parts.keys;
    this.webhookSecret = parts.webhookSecret;
    this.catalogue = parts.catalogue;
    this.databaseUrl = parts.databaseUrl;
    this.#app = parts.app;
    this.#close = parts.close;
  }

  static async open(limits: HttpLimits = { addressPerMinute: 100_000, workspacePerMinute: 100_000 }): Promise<HttpWorld> {
    const isolated = await isolate();
    const producers = await openProducers(isolated.databaseUrl, 'producers');
    const { database: pipeline, catalogue } = await openCatalogue(isolated.databaseUrl, 'waybill');
    const keys = { workspace: await makeKey('workspace-1'), operator: await makeKey('operator-1', 'ES256'), service: await makeKey('service-1') };
    const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;
    return await HttpWorld.#serve({ pipeline, producers, keys, webhookSecret, catalogue, databaseUrl: isolated.databaseUrl }, limits, async () => {
      await Promise.all([pipeline.destroy(), producers.destroy()]);
      await isolated.drop();
    });
  }

  /** Another process of the same door, as far as a test can tell: its own server, its own keys in memory, the same databases. */
  static async beside(world: HttpWorld, { pipeline = world.pipeline, origin }: { pipeline?: Database; origin?: string } = { origin: world.url }): Promise<HttpWorld> {
    const { producers, keys, webhookSecret, catalogue, databaseUrl } = world;
    return await HttpWorld.#serve({ pipeline, producers, keys, webhookSecret, catalogue, databaseUrl }, { addressPerMinute: 100_000, workspacePerMinute: 100_000 }, async () => { await Promise.resolve(); }, ...(origin === undefined ? [] : [origin]));
  }

  static async #serve(
    { pipeline, producers, keys, webhookSecret, catalogue, databaseUrl }: Pick<HttpWorld, 'pipeline' | 'producers' | 'keys' | 'webhookSecret' | 'catalogue' | 'databaseUrl'>, limits: HttpLimits, close: () => Promise<void>, origin?: string,
  ): Promise<HttpWorld> {
    let url = '';
    const issuerOf = (kind: keyof typeof issuers) => ({ name: issuers[kind], keys: new IssuerKeys({ load: async () => await Promise.resolve(keySetOf(keys[kind])) }) });
    const metrics = { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: async () => await Promise.resolve('# none\n') };
    const deps: HttpDeps = { metrics, database: pipeline, controlPlane: producers, billing: producers, catalogue, box: unusedBox(pipeline), checks: { database: async () => { await pipeline.raw('select 1'); } } };
    const app = await createServer({
      deps, routes, limits, log: silentLogger, stopping: new AbortController().signal,
      authenticator: createAuthenticator({
        database: pipeline, audience: 'waybill', origin: () => origin ?? url, workspaces: issuerOf('workspace'),
        bearers: [{ kind: 'operator', issuer: issuerOf('operator') }, { kind: 'service', issuer: issuerOf('service') }],
      }),
      webhooks: createWebhookVerifier(pipeline, [webhookSecret]),
    });
    url = await app.listen({ host: '127.0.0.1', port: 0 });
    return new HttpWorld({ pipeline, producers, url, keys, webhookSecret, catalogue, databaseUrl, app, close });
  }

  async close(): Promise<void> {
    await this.#app.close();
    await this.#close();
  }

  /** Sends a request as it is. */
  async ask({ method, path, headers = {}, body }: Asked): Promise<Told> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(this.url + path, { method, headers: { ...(text !== undefined && { 'content-type': 'application/json' }), ...headers }, ...(text !== undefined && { body: text }) });
    const answer = await response.text();
    return { status: response.status, headers: response.headers, text: answer, body: answer === '' ? {} : JSON.parse(answer) as Told['body'] };
  }

  /** A request of an operator or a service with these roles. */
  async askAs(kind: 'operator' | 'service', roles: readonly Role[], asked: Asked): Promise<Told> {
    const token = await issue(this.keys[kind], issuers[kind], { sub: `${kind}-ann`, roles });
    return await this.ask({ ...asked, headers: { ...asked.headers, authorization: `Bearer ${token}` } });
  }

  /** A request of a box with a token of its own and a fresh proof. */
  async askAsBox(box: Box, asked: Asked, epoch = 1): Promise<Told> {
    const token = await this.tokenOf(box, epoch);
    const proof = await prove(box.signing, { method: asked.method, url: this.url + asked.path, token });
    return await this.ask({ ...asked, headers: { ...asked.headers, authorization: `DPoP ${token}`, dpop: proof } });
  }

  async tokenOf(box: Box, epoch = 1): Promise<string> {
    return await issue(this.keys.workspace, issuers.workspace, claimsOfWorkspace(box, box.workspaceId, box.orgId, epoch));
  }

  /** A workspace at the control plane, its record in the pipeline, and the keys of its agent. */
  async makeBox(template: string | null = null): Promise<Box> {
    const ids = { workspace_id: randomUUID(), org_id: randomUUID() };
    await this.producers.transaction(async (trx) =>
      await provisionWorkspace(trx, { findItem: async () => await Promise.resolve({ kind: 'template', runtimes: ['claude-code'] }) }, { ...ids, runtime: 'claude-code', template }));
    await this.putRecord(ids, 1, template);
    return { ...await makeBoxKeys(), workspaceId: ids.workspace_id, orgId: ids.org_id };
  }

  /** The record as the fold would have written it. */
  async putRecord(ids: { workspace_id: string; org_id: string }, epoch: number, template: string | null = null): Promise<void> {
    await this.pipeline('workspace_records').insert({
      ...ids, runtime: 'claude-code', template, plugins: [], status: 'provisioning', delivery_mode: 'box', epoch, generation: 1, record_version: epoch, removed: false,
      digest: '0'.repeat(64), origin: 'user', event_id: randomUUID(),
    }).onConflict('workspace_id').merge();
  }

  /** A signed message of billing's provider. */
  async send(path: string, body: unknown, { id = randomUUID(), at = seconds(), secret = this.webhookSecret }: { id?: string; at?: number; secret?: string } = {}): Promise<Told> {
    const text = JSON.stringify(body);
    const signature = new Webhook(secret).sign(id, new Date(at * 1000), text);
    return await this.ask({ method: 'POST', path, body: text, headers: { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': signature } });
  }

  /** Denials on record, oldest first. */
  async denials(): Promise<{ subjectId: string; orgId: string | null; code: string; detail: Record<string, unknown> }[]> {
    const { rows } = await this.pipeline.raw<{ rows: { subjectId: string; orgId: string | null; code: string; detail: Record<string, unknown> }[] }>(
      `select subject_id as "subjectId", org_id as "orgId", code, detail from audit where action = 'http' and outcome = 'denied' order by id`,
    );
    return rows;
  }
}
