import { Billing } from '../../examples/billing/billing.ts';
import { ControlPlane } from '../../examples/control-plane/control-plane.ts';
import type { Config, SettingName } from '../../process/config.ts';
import type { Database } from '../../process/database.ts';
import type { Runnable } from '../../process/lifecycle.ts';
import type { Logger } from '../../process/log.ts';
import type { AssetsEvent } from '../../producers/client.ts';
import { settingsOf, wireAssetsFeed, wireCatalogueLookup, wireDatabase, wireRelay } from '../../wire.ts';
import { wireHttp } from '../../wire-http.ts';
import { Boxes } from './boxes.ts';
import { wireRoles, type RoleName } from '../run.ts';

/** Everything that runs in `waybill dev`: the pipeline's roles, and the two example programs with their relays. */
export interface Company extends AsyncDisposable {
  readonly runnables: readonly Runnable[];
  readonly controlPlane: ControlPlane;
  readonly billing: Billing;
  /** Workspaces that deliver to themselves. */
  readonly boxes: Boxes;
  readonly pipeline: Database;
  /** Address of the HTTP door; empty until it listens. */
  readonly door: () => string;
}

/** Of the agents; what names their workspaces is theirs alone. */
const boxSettings = settingsOf.agent.filter((name) => name !== 'brokerUrl' && name !== 'boxWorkspaceId' && name !== 'boxVolume' && name !== 'tokenFile');

export const companySettings = [
  ...settingsOf.entitlements, ...settingsOf.workspaces, ...settingsOf.deliveries, ...settingsOf.relay, ...settingsOf.expiry, ...settingsOf.rollouts, ...settingsOf.sweep, ...settingsOf.chainer, ...settingsOf.feed, ...settingsOf.http, ...boxSettings,
  'controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema', 'billingDatabaseUrl', 'billingDatabaseSchema',
] as const satisfies readonly SettingName[];

export type CompanyConfig = Config<(typeof companySettings)[number]>;

/** The roles of the pipeline that run in `waybill dev`. */
export const companyRoles = ['entitlements', 'workspaces', 'deliveries', 'relay', 'expiry', 'rollouts', 'sweep', 'chainer'] as const satisfies readonly RoleName[];

/** Opens it all; nothing runs yet. `told` hears what the control plane has dealt with. */
export function openCompany(config: CompanyConfig, stateDir: string, log: (role: string) => Logger, told: (event: AssetsEvent) => void): Company {
  const resources = new AsyncDisposableStack();
  const pipeline = resources.use(wireDatabase(config, 'dev', 2));
  const atControlPlane = { ...config, databaseUrl: config.controlPlaneDatabaseUrl, databaseSchema: config.controlPlaneDatabaseSchema };
  const atBilling = { ...config, databaseUrl: config.billingDatabaseUrl, databaseSchema: config.billingDatabaseSchema };
  const ofControlPlane = resources.use(wireDatabase(atControlPlane, 'control-plane', 4));
  const controlPlane = new ControlPlane(ofControlPlane, wireCatalogueLookup(pipeline), config.volumesRoot);
  const billing = new Billing(resources.use(wireDatabase(atBilling, 'billing', 2)));
  let door = '';
  const wired = [
    wireHttp(config, log('http'), (url) => { door = url; }),
    ...wireRoles(companyRoles, config, log),
    wireRelay(atControlPlane, log('control-plane-relay'), 'control-plane-relay'),
    wireRelay(atBilling, log('billing-relay'), 'billing-relay'),
  ];
  for (const one of wired) resources.use(one);
  const boxes = new Boxes({ settings: config, stateDir, volumes: config.volumesRoot, controlPlane: ofControlPlane, door: () => door, log: log('agent') });
  const feed = wireAssetsFeed(config, log('control-plane'), 'control-plane-example');
  return {
    runnables: [...wired, boxes, { name: 'control-plane', run: async (signal) => { await controlPlane.run({ ...feed, signal }, told); } }],
    controlPlane, billing, boxes, pipeline, door: () => door,
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}
