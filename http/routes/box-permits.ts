import Type from 'typebox';

import { permitBox } from '../../delivery/box/permit.ts';
import { defineRoute } from '../route.ts';
import { workspaceCaller } from '../workspace-caller.ts';
import { asideRecord, attemptNumber, paths, timeOf, workspaceParams } from './box-shapes.ts';

/** The last look at the truth before a box changes files. */
export const boxPermitsRoute = defineRoute({
  method: 'POST',
  path: '/v1/workspaces/:workspaceId/permits',
  summary: 'Whether the running attempt may change files now, for 60 s, and what it may move aside',
  callers: { workspace: 'own' },
  params: workspaceParams,
  body: Type.Object({ attempt: attemptNumber, making: paths }, { additionalProperties: false }),
  bodyBytesMax: 4 * 1024 * 1024,
  answer: Type.Object({
    result: Type.String(), server_time: Type.Optional(Type.String()), expires_at: Type.Optional(Type.String()), expires_in_ms: Type.Optional(Type.Integer()),
    record: Type.Optional(asideRecord),
  }),
  codes: ['NOT_FOUND', 'STALE_VERSION', 'PATH_REFUSED'],
  handle: async ({ caller, body }, { box }) => {
    const permitted = await permitBox(box, workspaceCaller(caller), body);
    if (typeof permitted === 'string') return { body: { result: permitted } };
    const { record, serverTime, expiresAt } = permitted;
    return {
      body: {
        result: 'granted', server_time: timeOf(serverTime), expires_at: timeOf(expiresAt), expires_in_ms: expiresAt - serverTime,
        record: {
          attempt: record.attempt, directories: [...record.directories], making: [...record.making],
          entries: record.entries.map(({ path, ours, denied }) => ({ path, ours: [...ours], denied })),
        },
      },
    };
  },
});
