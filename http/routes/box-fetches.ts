import Type from 'typebox';

import { parseEncryptionKey } from '../../delivery/box/encryption-key.ts';
import { grantToBox, releasesMax } from '../../delivery/box/fetches.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseItemId, parseVersion } from '../../schemas/ids.ts';
import { defineRoute } from '../route.ts';
import { workspaceCaller } from '../workspace-caller.ts';
import { attemptNumber, timeOf, workspaceParams } from './box-shapes.ts';

const release = Type.Object({ item_id: Type.String({ maxLength: 100 }), version: Type.String({ maxLength: 100 }) }, { additionalProperties: false });

/** Grants: what a box may fetch and open now. The answer holds secrets; nothing of it is logged. */
export const boxFetchesRoute = defineRoute({
  method: 'POST',
  path: '/v1/workspaces/:workspaceId/fetches',
  summary: 'Grants for releases of the running attempt: a URL that lives at most 60 s, and the data key for the key of this workspace',
  callers: { workspace: 'own' },
  params: workspaceParams,
  body: Type.Object({
    attempt: attemptNumber, releases: Type.Array(release, { minItems: 1, maxItems: releasesMax }), encryption_key: Type.Object({}),
  }, { additionalProperties: false }),
  answer: Type.Object({
    result: Type.String(), server_time: Type.Optional(Type.String()),
    items: Type.Optional(Type.Array(Type.Object({
      item_id: Type.String(), version: Type.String(), url: Type.String(), headers: Type.Record(Type.String(), Type.String()), expires_at: Type.String(),
      expires_in_ms: Type.Integer(), ciphertext_sha256: Type.String(), ciphertext_bytes: Type.Integer(), data_key: Type.String(),
    }))),
  }),
  codes: ['NOT_FOUND', 'STALE_VERSION', 'NOT_ENTITLED', 'GRANT_BUDGET', 'KEY_UNUSABLE', 'INTEGRITY_FAILED'],
  handle: async ({ caller, body }, { box }) => {
    const request = checkInput(() => ({
      attempt: body.attempt, encryptionKey: parseEncryptionKey(body.encryption_key),
      releases: body.releases.map(({ item_id, version }) => ({ itemId: parseItemId(item_id), version: parseVersion(version) })),
    }));
    const granted = await grantToBox(box, workspaceCaller(caller), request);
    const headers = { 'cache-control': 'no-store' };
    if (typeof granted === 'string') return { body: { result: granted }, headers };
    return {
      headers,
      body: {
        result: 'granted', server_time: timeOf(granted.serverTime),
        items: granted.items.map((item) => ({
          item_id: item.itemId, version: item.version, url: item.url, headers: { ...item.headers }, expires_at: item.expiresAt.toISOString(),
          expires_in_ms: item.expiresInMs, ciphertext_sha256: item.ciphertextSha256, ciphertext_bytes: item.ciphertextBytes, data_key: item.dataKey,
        })),
      },
    };
  },
});
