import Type, { type Static } from 'typebox';

import { noteTakenOut } from '../../delivery/box/taken-out.ts';
import { askWanted, type WantedAnswer } from '../../delivery/box/wanted.ts';
import { targetRoot } from '../../catalogue/target-path.ts';
import { Failure } from '../../process/failure.ts';
import { findRuntime } from '../../schemas/runtimes.ts';
import { defineRoute } from '../route.ts';
import { workspaceCaller } from '../workspace-caller.ts';
import { asideRecord, timeOf, workspaceParams } from './box-shapes.ts';

const nullable = <S extends Parameters<typeof Type.Union>[0][number]>(schema: S) => Type.Union([schema, Type.Null()]);

const wantedBody = Type.Object({
  workspace_id: Type.String(), org_id: Type.String(), runtime: Type.String(), status: Type.String(), epoch: Type.Integer(), generation: Type.Integer(),
  server_time: Type.String(),
  attempt: nullable(Type.Integer()),
  act: Type.String(),
  probes: nullable(Type.String()),
  set_digest: nullable(Type.String()),
  items: Type.Array(Type.Object({
    item_id: Type.String(), kind: Type.String(), seller_id: Type.String(), version: Type.String(), access: Type.String(),
    archive_sha256: Type.String(), archive_bytes: Type.Integer(), ciphertext_sha256: Type.String(), ciphertext_bytes: Type.Integer(),
    manifest: Type.String(), manifest_signature: Type.String(), target_root: Type.String(),
  })),
  probe_paths: Type.Array(Type.String()),
  withheld: Type.Array(Type.Object({ item_id: Type.String(), code: Type.String() })),
  code: nullable(Type.String()),
  removal: Type.Array(Type.String()),
  denied: Type.Array(Type.String()),
  adopt: nullable(Type.Integer()),
  receipts: Type.Object({
    files: Type.Array(Type.Object({ path: Type.String(), sha256: Type.String(), item_id: Type.String(), version: Type.String() })),
    directories: Type.Array(Type.String()),
  }),
  known: Type.Array(Type.Object({ path: Type.String(), sha256: Type.Array(Type.String()) })),
  asides: Type.Array(asideRecord),
  last_word: nullable(Type.Object({
    kind: Type.String(), epoch: Type.Integer(), generation: Type.Integer(), set_digest: Type.String(), code: nullable(Type.String()), item_id: nullable(Type.String()),
  })),
  lease: nullable(Type.String()),
});

/** Longest time that an answer is held back, in seconds; proxies and load balancers give up at 60. */
const waitSecondsMax = 30;
const foldersMax = 100;

/** What a box is to do; docs/guides/agent-protocol.md is the whole protocol. */
export const boxWantedRoute = defineRoute({
  method: 'GET',
  path: '/v1/workspaces/:workspaceId/wanted',
  summary: 'What the agent in a workspace is to do now; with If-None-Match and Prefer: wait=n held back until something changes',
  callers: { workspace: 'own' },
  params: workspaceParams,
  query: Type.Object({ folders: Type.Optional(Type.String({ maxLength: 2_000 })), settled: Type.Optional(Type.String({ maxLength: 16 })), taken_out: Type.Optional(Type.Literal('sold')) }, { additionalProperties: false }),
  answer: wantedBody,
  codes: ['NOT_FOUND', 'STALE_VERSION', 'UNSUPPORTED_VOLUME'],
  handle: async ({ caller, query, headers, signal }, { box }) => {
    if (query.taken_out !== undefined) await noteTakenOut(box, workspaceCaller(caller));
    const answer = await askWanted(box, workspaceCaller(caller), {
      folders: parseFolders(query.folders), settled: query.settled === undefined ? null : parseNumber(query.settled, 'settled'),
      tag: tagOf(headers['if-none-match']), waitMs: 1_000 * waitSecondsOf(headers['prefer']), signal,
    });
    const tag = answer === undefined ? String(headers['if-none-match']) : `"${answer.tag}"`;
    const own = { etag: tag, 'cache-control': 'no-store' };
    return answer === undefined ? { outcome: 'not-modified' as const, headers: own } : { body: bodyOf(answer), headers: own };
  },
});

function bodyOf(answer: WantedAnswer): Static<typeof wantedBody> {
  const { workspace, plan, wanted, receipts, lastWord, access } = answer;
  const runtime = findRuntime(workspace.runtime);
  const decision = plan?.decision;
  return {
    workspace_id: workspace.workspaceId, org_id: workspace.orgId, runtime: workspace.runtime, status: workspace.status, epoch: workspace.epoch,
    generation: workspace.generation, server_time: timeOf(answer.serverTime), attempt: plan?.attempt ?? null, act: answer.act,
    probes: decision?.act === 'confirm' ? decision.probes : null, set_digest: wanted?.setDigest ?? null,
    items: (plan?.releases ?? []).map((release) => ({
      item_id: release.itemId, kind: release.kind, seller_id: release.sellerId, version: release.version, access: access.get(release.itemId) ?? 'sold',
      archive_sha256: release.archiveSha256, archive_bytes: release.archiveBytes, ciphertext_sha256: release.ciphertextSha256,
      ciphertext_bytes: release.ciphertextBytes, manifest: release.manifest, manifest_signature: release.manifestSignature.toString('base64'),
      target_root: runtime === undefined ? '' : targetRoot(release.kind, release.itemId, runtime), // a plan of an unknown runtime has no releases
    })),
    probe_paths: (plan?.releases ?? []).flatMap((release) => release.plannedFiles).filter((file) => file.identity).map((file) => file.path).toSorted(),
    withheld: (wanted?.withheld ?? []).map(({ itemId, code }) => ({ item_id: itemId, code })), code: answer.code,
    removal: [...answer.removal], denied: [...answer.denied], adopt: answer.adopt,
    receipts: {
      files: receipts.files.map(({ path, sha256, itemId, version }) => ({ path, sha256, item_id: itemId, version })), directories: [...receipts.directories],
    },
    known: [...plan?.known ?? []].map(([path, digests]) => ({ path, sha256: [...digests] })),
    asides: answer.asides.map(({ attempt, entries, directories, making }) => ({
      attempt, entries: entries.map(({ path, ours, denied }) => ({ path, ours: [...ours], denied })), directories: [...directories], making: [...making],
    })),
    last_word: lastWord && {
      kind: lastWord.kind, epoch: lastWord.epoch, generation: lastWord.generation, set_digest: lastWord.setDigest, code: lastWord.code, item_id: lastWord.itemId,
    },
    lease: answer.lease,
  };
}

function parseFolders(text: string | undefined): number[] {
  if (text === undefined || text === '') return [];
  const numbers = text.split(',').map((part) => parseNumber(part, 'folders'));
  if (numbers.length > foldersMax) throw new Failure('input', 'FIELD_INVALID', `folders names ${numbers.length} folders; send the ${foldersMax} highest`);
  return numbers.toSorted((a, b) => a - b);
}

function parseNumber(text: string, field: string): number {
  if (!/^[1-9]\d{0,14}$/u.test(text)) throw new Failure('input', 'FIELD_INVALID', `${field} should be numbers of attempts, not ${JSON.stringify(text.slice(0, 40))}`);
  return Number(text);
}

function tagOf(header: string | string[] | undefined): string | null {
  return (typeof header === 'string' ? /^(?:W\/)?"(?<tag>[\d.]{1,60})"$/u.exec(header)?.groups?.['tag'] : undefined) ?? null;
}

/** RFC 7240. */
function waitSecondsOf(header: string | string[] | undefined): number {
  const wait = typeof header === 'string' ? /(?:^|[\s,;])wait=(?<seconds>\d{1,4})(?:$|[\s,;])/u.exec(header)?.groups?.['seconds'] : undefined;
  return Math.min(waitSecondsMax, Number(wait ?? 0));
}
