-- Proofs of possession that were used (RFC 9449, jti): each is good once, whichever process of the door sees it. A proof is
-- refused by its age before its row is pruned.
create table dpop_proofs (
  -- SHA-256 over the key's thumbprint and the jti.
  proof bytea primary key,
  expires_at timestamptz not null
);
create index dpop_proofs_expired on dpop_proofs (expires_at);
