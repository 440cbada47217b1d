import { randomBytes } from 'node:crypto';

import { roleName, type DatabaseRole } from '../../migrations/database-roles.ts';
import { openDatabase, type Database } from '../../process/database.ts';

/** Connections as logins that are member of one database role each, and of nothing else. */
export interface RoleLogins {
  as(role: DatabaseRole): Promise<Database>;
  /** Where such a login connects, for what opens its own connection. */
  urlOf(role: DatabaseRole): Promise<string>;
  drop(): Promise<void>;
}

/** `admin` may create roles; the logins are for the database at `url`. */
export function openRoleLogins(admin: Database, url: string): RoleLogins {
  const suffix = randomBytes(4).toString('hex');
  const urls = new Map<DatabaseRole, Promise<string>>();
  const opened = new Map<DatabaseRole, Database>();
  const create = async (role: DatabaseRole): Promise<string> => {
    const login = new URL(url);
    login.username = `test_${role}_${suffix}`;
    login.password = randomBytes(12).toString('hex');
    await admin.raw(`create role ${login.username} login password '${login.password}' in role ${roleName(role)}`);
    return login.href;
  };
  const urlOf = async (role: DatabaseRole): Promise<string> => {
    const found = urls.get(role) ?? create(role);
    urls.set(role, found);
    return await found;
  };
  return {
    urlOf,
    async as(role) {
      // One connection, so that what a transaction leaves behind would be seen by the next one.
      const found = opened.get(role) ?? openDatabase(await urlOf(role), { poolMax: 1 });
      opened.set(role, found);
      return found;
    },
    async drop() {
      await Promise.all([...opened.values()].map(async (one) => { await one.destroy(); }));
      for (const role of urls.keys()) await admin.raw(`drop role test_${role}_${suffix}`);
    },
  };
}
