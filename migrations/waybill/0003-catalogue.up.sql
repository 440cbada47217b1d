-- The catalogue: the only list of items and releases that can be named (B1).
create table sellers (
  seller_id text primary key,
  -- KMS key that wraps the data keys of this seller's releases; destroying it shreds them (B4).
  wrapping_key_id text not null,
  -- KMS key (Ed25519) that signs this seller's manifests, and its public half as SPKI DER.
  signing_key_id text not null,
  signing_public_key bytea not null
);

create table items (
  item_id text primary key,
  seller_id text not null references sellers,
  kind text not null check (kind in ('template', 'plugin')),
  access text not null check (access in ('open', 'platform', 'sold')),
  runtimes text[] not null check (cardinality(runtimes) > 0),
  catalogue_version bigint not null check (catalogue_version > 0)
);

create table releases (
  item_id text not null references items,
  version text not null,
  status text not null check (status in ('submitted', 'approved', 'yanked', 'quarantined')),
  -- The pin: repository, full commit id that is merged, folder (B2).
  repository text not null,
  commit_id text not null,
  path text not null,
  -- The canonical archive (plaintext) and its sealed object.
  archive_sha256 text not null,
  archive_bytes bigint not null,
  files integer not null,
  manifest text not null,
  manifest_signature bytea not null,
  object_key text not null,
  object_version text,
  -- What the store called these bytes when they were written; read If-Match.
  object_etag text not null,
  ciphertext_sha256 text not null,
  ciphertext_bytes bigint not null,
  -- The data key as wrapped by the seller's KMS key, for the broker (C4).
  wrapped_data_key bytea not null,
  submitted_at timestamptz not null default clock_timestamp(),
  primary key (item_id, version)
);

create table channels (
  item_id text not null,
  channel text not null,
  version text not null,
  primary key (item_id, channel),
  foreign key (item_id, version) references releases
);
