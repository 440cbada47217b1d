import type { Client } from 'pg';

import { asDatabaseFailure, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';

/** Parts of an outbox, by hash of the key; one relay at a time publishes each. As in the outbox's `shard` column. */
const shardCount = 16;
/** How often relays look whether others came or went. */
const balanceEveryMs = 500;
/** A lock connection that does not answer within this is given up: its locks may be gone already. */
const answerWithinMs = 5000;

/**
 * The shards that this relay alone may publish: session-level advisory locks on a connection of their own, one per shard
 * and outbox table. Relays of one outbox share them evenly; who is there is told by a shared lock that each of them holds.
 */
export interface RelayShards {
  /** What is held now; empty at once when the connection is lost. */
  held(): readonly number[];
  /** Takes or gives back shards, at most every half second. Call it only while nothing of this relay is in flight. */
  balance(): Promise<void>;
  isBalanceDue(): boolean;
  close(): Promise<void>;
}

/** The connections of knex's pool, which it types as any. */
interface Pool {
  acquireConnection(): Promise<Client>;
  releaseConnection(client: Client): Promise<void>;
}

/** Lock keys of this outbox: a tag, the oid of the table, five bits of shard; number 16 is the presence of a relay. */
const keyBase = `((22338::bigint << 40) | ('waybill_outbox'::regclass::oid::bigint << 5))`;
const presence = `(${keyBase} | 16)`;

/** `onConnected` is awaited on every new connection before this relay counts as there and takes a shard. */
export function openShards(database: Database, onConnected: () => Promise<void> = async () => await Promise.resolve()): RelayShards {
  const pool = database.client as Pool;
  let client: Client | undefined;
  let onLost = (): void => undefined;
  let held: readonly number[] = [];
  let balancedAt = Number.NEGATIVE_INFINITY;

  const disposed = new WeakSet<Client>();

  /** A connection whose locks are in doubt is ended and not just handed back: its next user would hold them. */
  async function dispose(connection: Client): Promise<void> {
    if (client === connection) {
      held = [];
      client = undefined;
    }
    if (disposed.has(connection)) return;
    disposed.add(connection);
    await connection.end().catch(() => undefined);
    await pool.releaseConnection(connection).catch(() => undefined);
  }

  async function connect(): Promise<Client> {
    const fresh = await pool.acquireConnection();
    onLost = (): void => { void dispose(fresh); };
    fresh.once('end', onLost);
    fresh.once('error', onLost);
    client = fresh;
    await onConnected();
    await ask(fresh, `select pg_advisory_lock_shared(${presence})`);
    return fresh;
  }

  async function balance(): Promise<void> {
    const connection = client ?? await connect();
    const [{ relays }] = await ask<[{ relays: number }]>(
      connection,
      `select count(*)::int as relays from pg_locks, (select ${presence} as key) k
       where locktype = 'advisory' and granted and objsubid = 1 and database = (select oid from pg_database where datname = current_database())
         and classid = (key >> 32)::oid and objid = (key & 4294967295)::oid`,
    );
    const quota = Math.ceil(shardCount / Math.max(relays, 1));
    const surplus = held.slice(quota);
    if (surplus.length > 0) {
      await ask(connection, `select pg_advisory_unlock(${keyBase} | s) from unnest($1::bigint[]) s`, [surplus]);
      held = held.slice(0, quota);
    } else if (held.length < quota) {
      const free = Array.from({ length: shardCount }, (_, shard) => shard).filter((shard) => !held.includes(shard));
      const taken = await ask<{ s: string | number }[]>(
        connection, `select s from unnest($1::bigint[]) s where pg_try_advisory_lock(${keyBase} | s) limit $2`, [free, quota - held.length],
      );
      if (client === connection) held = [...held, ...taken.map(({ s }) => Number(s))];
    }
  }

  return {
    held: () => held,
    isBalanceDue: () => held.length === 0 || performance.now() - balancedAt >= balanceEveryMs,
    async balance() {
      balancedAt = performance.now();
      try {
        await balance();
      } catch (error) {
        // Whatever it was, what is held is no longer certain. Not waited for: it may be the network that is gone.
        if (client !== undefined) void dispose(client);
        throw asDatabaseFailure(error);
      }
    },
    async close() {
      const connection = client;
      if (connection === undefined) return;
      held = [];
      try {
        await ask(connection, 'select pg_advisory_unlock_all()');
      } catch {
        await dispose(connection);
        return;
      }
      client = undefined;
      connection.off('end', onLost);
      connection.off('error', onLost);
      await pool.releaseConnection(connection);
    },
  };
}

async function ask<Rows>(client: Client, sql: string, values: readonly unknown[] = []): Promise<Rows> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Failure('dependency', 'UNAVAILABLE', `PostgreSQL did not answer the relay's lock connection within ${answerWithinMs} ms`));
  }, answerWithinMs);
  try {
    const result = await Promise.race([client.query(sql, [...values]), promise]);
    return result.rows as Rows; // what the statement selects
  } finally {
    clearTimeout(timer);
  }
}
