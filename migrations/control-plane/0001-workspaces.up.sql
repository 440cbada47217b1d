-- What the control plane wants of each workspace, and the versions minted for it; lives in the control plane's database.
create table waybill_workspaces (
  workspace_id uuid primary key,
  org_id uuid not null,
  runtime text not null,
  template text,
  plugins text[] not null default '{}',
  status text not null check (status in ('provisioning', 'online', 'paused', 'hibernated', 'removed', 'failed')),
  delivery_mode text not null default 'volume' check (delivery_mode in ('volume', 'box')),
  epoch bigint not null check (epoch > 0),
  generation bigint not null check (generation > 0),
  record_version bigint not null check (record_version > 0),
  -- True once the workspace had a template or a plugin: from then on every boot waits for AssetsReady (C6, C11).
  delivered_to boolean not null default false,
  -- The newest AssetsReady that the client library has seen for this workspace.
  ready_epoch bigint,
  ready_generation bigint,
  ready_assets_version bigint
);
