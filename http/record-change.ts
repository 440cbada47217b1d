import Type from 'typebox';

import { Failure } from '../process/failure.ts';
import type { RecordResult } from '../producers/control-plane.ts';
import type { Answer, Call } from './route.ts';

/** What a change of a record answers. */
export const recordChange = Type.Object({
  status: Type.String({ description: 'Of the workspace: provisioning, online, paused, hibernated, failed' }),
  needs_restart: Type.Boolean({ description: 'True while what the record asks for goes live only in another epoch (C11)' }),
  record_version: Type.Integer(),
});

export const recordParams = Type.Object({ workspaceId: Type.String({ description: 'Full UUID' }) });

export function recordAnswer({ record, needsRestart }: RecordResult): Answer<{ status: string; needs_restart: boolean; record_version: number }> {
  return {
    headers: { etag: `"${record.record_version}"` },
    body: { status: record.status, needs_restart: needsRestart, record_version: record.record_version },
  };
}

const etag = /^(?:"(?<quoted>[1-9]\d{0,15})"|(?<bare>[1-9]\d{0,15}))$/u;

/** The record version of If-Match, with or without quotes; undefined: the change is for whatever is there. */
export function ifMatchOf({ headers }: Pick<Call, 'headers'>): number | undefined {
  const given = headers['if-match'];
  if (given === undefined) return undefined;
  const { quoted, bare } = (typeof given === 'string' ? etag.exec(given)?.groups : undefined) ?? {};
  const text = quoted ?? bare;
  if (text === undefined) throw new Failure('input', 'FIELD_INVALID', 'If-Match should be a record version, such as "7"');
  return Number(text);
}
