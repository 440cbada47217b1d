import { recordOf } from '../delivery/workspace-record.ts';
import { decide, type Versioned } from '../entitlements/decide.ts';
import { lineOf } from '../entitlements/line.ts';
import type { Transaction } from '../process/database.ts';
import { parseEvent } from '../schemas/parse-event.ts';
import { isEventType } from '../schemas/topics.ts';
import type { OutboxRow } from './find-event.ts';

/** What folding an event into what stands now comes to: events that were superseded or came twice leave no row of their own. */
export interface EventFate {
  readonly kind: 'changes' | 'superseded' | 'duplicate' | 'conflict';
  readonly version: number;
  /** The version that stands now; null: none. */
  readonly current: number | null;
}

/** Null: no event that we fold. */
export async function loadEventFate(trx: Transaction, { type, body }: OutboxRow): Promise<EventFate | null> {
  if (body === null || !isEventType(type)) return null;
  const typed = parseEvent(type, body);
  switch (typed.type) {
    case 'Purchase':
    case 'Revoke': {
      const line = lineOf(typed);
      const held = await one(trx, `select entitlement_version as version, revoked as ended, digest from entitlement_lines
        where org_id = ? and item_id = ? and purchase_id = ?`, [line.orgId, line.itemId, line.purchaseId]);
      return fateOf(held, line);
    }
    case 'WorkspaceProvisioned':
    case 'TemplateChanged':
    case 'PluginsChanged':
    case 'WorkspaceStatusChanged': {
      const record = recordOf(typed);
      return fateOf(await one(trx, 'select record_version as version, removed as ended, digest from workspace_records where workspace_id = ?', [record.workspaceId]), record);
    }
    case 'EntitlementChanged':
    case 'ItemChanged':
    case 'ReleaseChanged':
    case 'ChannelMoved':
    case 'AssetsReady':
    case 'AssetsRejected':
    case 'AssetsRevoked':
    case 'RestartRequested':
      return null;
  }
}

function fateOf(held: Versioned | undefined, { version, ended, digest }: Versioned): EventFate {
  const decision = decide<Versioned>(held, { version, ended, digest });
  return { kind: decision.kind === 'changed' ? 'changes' : decision.reason, version, current: held?.version ?? null };
}

async function one(trx: Transaction, sql: string, bindings: string[]): Promise<Versioned | undefined> {
  const { rows: [row] } = await trx.raw<{ rows: Versioned[] }>(sql, bindings);
  return row;
}
