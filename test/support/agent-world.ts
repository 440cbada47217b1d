import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { inject } from 'vitest';

import { createDataKeyWrapper } from '../../adapters/jose/data-key-wrapper.ts';
import { createLeaseSigner } from '../../adapters/jose/lease-signer.ts';
import { createDataKeyUnwrapper } from '../../adapters/kms/data-key-unwrapper.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { keyIdOf, keyListMessage, type ListedKey, type SignedKeyList } from '../../catalogue/key-list.ts';
import { draftKeyList, publishKeyList, type DraftTerms } from '../../catalogue/publish/key-lists.ts';
import { PendingWatch } from '../../delivery/box/watch.ts';
import { createAuthenticator } from '../../http/authenticate.ts';
import { IssuerKeys } from '../../http/issuer-keys.ts';
import { routes } from '../../http/routes.ts';
import { createServer } from '../../http/server.ts';
import { silentLogger } from '../../process/log.ts';
import type { RecordChange } from './delivery-world.ts';
import { DeliveryWorld } from './delivery-world.ts';
import { issue, keySetOf, makeKey, type TestKey } from './tokens.ts';

const root = resolve(import.meta.dirname, '../..');
const issuer = 'https://control-plane.test';
const deadlineMs = 20_000;

/** A listed key with its private half. */
export interface RootKey extends ListedKey {
  readonly privateKey: KeyObject;
}

export function makeRootKey(): RootKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const der = publicKey.export({ format: 'der', type: 'spki' });
  return { keyId: keyIdOf(der), publicKey: der, privateKey };
}

/** How an agent is started: the command line, from the root of the checkout. */
export type AgentCommand = readonly [program: string, ...args: readonly string[]];

/**
 * A broker that listens, over deliveries on real services, with a control plane's issuer and a key list: what an agent of a
 * box needs, whatever language it is written in.
 */
export class AgentWorld {
  readonly deliveries: DeliveryWorld;
  readonly rootKey: RootKey = makeRootKey();
  readonly leaseKey: RootKey = makeRootKey();
  #issuerKey: TestKey | undefined;
  #app: FastifyInstance | undefined;
  #url = '';
  #port = 0;
  readonly #agents: Agent[] = [];
  readonly #watch: PendingWatch;
  #kms: ReturnType<typeof openKms>;

  private constructor(deliveries: DeliveryWorld) {
    this.deliveries = deliveries;
    this.#watch = new PendingWatch(deliveries.database);
    this.#kms = openKms(inject('stack').kms);
  }

  static async open(): Promise<AgentWorld> {
    const world = new AgentWorld(await DeliveryWorld.open());
    world.#issuerKey = await makeKey('control-plane-1');
    await world.publishKeys();
    await world.serve();
    return world;
  }

  async close(): Promise<void> {
    await Promise.all(this.#agents.map(async (agent) => { await agent.kill(); }));
    await this.away();
    this.#kms.destroy();
    await this.deliveries.close();
  }

  /** The door listens, at the same address as before. */
  async serve(): Promise<void> {
    const { database, deps } = this.deliveries;
    const lease = this.leaseKey.privateKey.export({ type: 'pkcs8', format: 'pem' });
    const issuerKeys = new IssuerKeys({ load: async () => await Promise.resolve(keySetOf(...(this.#issuerKey === undefined ? [] : [this.#issuerKey]))) });
    this.#app = await createServer({
      deps: {
        database, controlPlane: database, billing: database, catalogue: { findItem: async () => await Promise.resolve(undefined) }, checks: {},
        metrics: { contentType: 'text/plain', text: async () => await Promise.resolve('') },
        box: {
          database, options: { thirdPartySellers: false, settleWindowMs: 0 }, watch: this.#watch, leases: createLeaseSigner(String(lease)),
          signer: deps.signer, unwrapper: createDataKeyUnwrapper(this.#kms), wrapper: createDataKeyWrapper(),
        },
      },
      routes, limits: { addressPerMinute: 100_000, workspacePerMinute: 100_000 }, log: silentLogger, stopping: new AbortController().signal,
      authenticator: createAuthenticator({ database, audience: 'waybill', origin: () => this.#url, workspaces: { name: issuer, keys: issuerKeys }, bearers: [] }),
      webhooks: { verify: async () => await Promise.reject(new Error('no webhooks here')) },
    });
    this.#url = await this.#app.listen({ host: '127.0.0.1', port: this.#port });
    this.#port = Number(new URL(this.#url).port);
  }

  /** Nobody answers any more. */
  async away(): Promise<void> {
    this.#app?.server.closeAllConnections();
    await this.#app?.close();
    this.#app = undefined;
  }

  /** Publishes the next key list, signed by `signers`. Out: as it is served. */
  async publishKeys(terms: Partial<DraftTerms> = {}, signers: readonly RootKey[] = [this.rootKey]): Promise<SignedKeyList> {
    const { database } = this.deliveries;
    const signed = await draftKeyList(database, { threshold: 1, rootKeys: [this.rootKey], brokerKeys: [this.leaseKey], sellerKeys: [], without: [], daysValid: 30, ...terms });
    const list = { signed, signatures: signers.map(({ keyId, privateKey }) => ({ key_id: keyId, signature: sign(null, keyListMessage(signed), privateKey).toString('base64') })) };
    await publishKeyList(database, list, 'a test');
    return list;
  }

  /** A workspace that delivers to itself. */
  async provision(change: RecordChange): Promise<string> {
    const workspaceId = randomUUID();
    await this.deliveries.record(workspaceId, { delivery_mode: 'box', ...change });
    return workspaceId;
  }

  /** Starts an agent and, once its keys are there, gives it a token of this epoch. */
  async start(command: AgentCommand, workspaceId: string, more: { readonly epoch?: number; readonly env?: Readonly<Record<string, string>> } = {}): Promise<Agent> {
    const volume = this.deliveries.volume(workspaceId);
    const files = { token: join(this.deliveries.folder, `token-${workspaceId}`), keyList: join(this.deliveries.folder, `keys-${workspaceId}.json`) };
    if (!existsSync(files.keyList)) writeFileSync(files.keyList, JSON.stringify(await this.#firstList()));
    mkdirSync(volume, { recursive: true });
    const agent = new Agent(command, {
      WAYBILL_BROKER_URL: this.#url, WAYBILL_WORKSPACE_ID: workspaceId, WAYBILL_VOLUME: volume, WAYBILL_TOKEN_FILE: files.token,
      WAYBILL_KEY_LIST_FILE: files.keyList, WAYBILL_FETCH_HOSTS: new URL(inject('stack').s3.endpoint).host, ...more.env,
    });
    this.#agents.push(agent);
    const keysFile = join(volume, '.waybill/agent/public-keys.json');
    await until(() => existsSync(keysFile), () => `no keys of the agent:\n${agent.output}`);
    await this.issueToken(workspaceId, more.epoch);
    return agent;
  }

  /** The token of a workspace's next minutes, as the control plane keeps it fresh. */
  async issueToken(workspaceId: string, epoch = 1): Promise<void> {
    const keys = JSON.parse(readFileSync(join(this.deliveries.volume(workspaceId), '.waybill/agent/public-keys.json'), 'utf8')) as Record<string, unknown>;
    if (this.#issuerKey === undefined) throw new Error('the world is not open');
    const token = await issue(this.#issuerKey, issuer, {
      sub: workspaceId, org: this.deliveries.org, epoch, cnf: { jkt: keys['signing_thumbprint'] }, enc_jkt: keys['encryption_thumbprint'],
    });
    writeFileSync(join(this.deliveries.folder, `token-${workspaceId}`), token);
  }

  /** Waits until the last word about a workspace is this one. */
  async says(workspaceId: string, type: string, about: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
    let last: { type: string; body: Record<string, unknown> } | undefined;
    const fits = (): boolean => last?.type === type && Object.entries(about).every(([name, value]) => last?.body[name] === value);
    await until(async () => {
      last = (await this.deliveries.said(workspaceId)).at(-1);
      return fits();
    }, () => `${workspaceId}: not ${type} ${JSON.stringify(about)}, but ${JSON.stringify(last)}\n${this.#agents.map((agent) => agent.output).join('\n')}`);
    return last?.body ?? {};
  }

  async #firstList(): Promise<SignedKeyList> {
    const { rows: [first] } = await this.deliveries.database.raw<{ rows: SignedKeyList[] }>('select signed, signatures from key_lists order by version limit 1');
    if (first === undefined) throw new Error('no key list was published');
    return first;
  }
}

/** A running agent. */
export class Agent {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  output = '';

  constructor([program, ...args]: AgentCommand, env: Readonly<Record<string, string>>) {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:WAYBILL_|VITEST|NODE_OPTIONS|npm_)/u.test(name)));
    this.#child = spawn(program, args, { cwd: root, env: { ...own, ...env } });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => { this.output += part; });
    this.ended = new Promise((end) => { this.#child.once('close', end); });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(name);
    await this.ended;
  }
}

export async function until(isSo: () => boolean | Promise<boolean>, otherwise: () => string, ms: number = deadlineMs): Promise<void> {
  const end = performance.now() + ms;
  while (!(await looked(isSo))) {
    if (performance.now() > end) throw new Error(otherwise());
    await delay(50);
  }
}

/** A folder may go while it is read: the agent is at work. Then it is not so yet. */
async function looked(isSo: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    return await isSo();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
