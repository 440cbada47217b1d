import Type, { type Static } from 'typebox';

import type { BoxReport } from '../../delivery/box/judge-report.ts';
import { failureCodes, reportBox } from '../../delivery/box/report.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseSha256 } from '../../schemas/ids.ts';
import { defineRoute } from '../route.ts';
import { workspaceCaller } from '../workspace-caller.ts';
import { attemptNumber, keptFile, paths, pathsMax, sha256, volumePath, workspaceParams } from './box-shapes.ts';

const nullablePath = Type.Union([volumePath, Type.Null()]);

const reportBody = Type.Object({
  attempt: attemptNumber,
  files: Type.Array(Type.Object({ path: volumePath, sha256: Type.Union([sha256, Type.Null()]) }, { additionalProperties: false }), { maxItems: pathsMax }),
  kept: Type.Array(keptFile, { maxItems: pathsMax }),
  removed: paths,
  directories: paths,
  rescued: Type.Object({ returned: paths, kept: Type.Array(keptFile, { maxItems: pathsMax }) }, { additionalProperties: false }),
  failed: Type.Union([Type.Object({ code: Type.Union(failureCodes.map((code) => Type.Literal(code))), path: nullablePath }, { additionalProperties: false }), Type.Null()]),
}, { additionalProperties: false });

/** The report that ends an attempt of a box. */
export const boxProbesRoute = defineRoute({
  method: 'POST',
  path: '/v1/workspaces/:workspaceId/probes',
  summary: 'What the agent in a workspace has done and read: becomes AssetsReady when it is what the plan says',
  callers: { workspace: 'own' },
  params: workspaceParams,
  body: reportBody,
  bodyBytesMax: 4 * 1024 * 1024,
  answer: Type.Object({ result: Type.String(), code: Type.Union([Type.String(), Type.Null()]), may_hold: Type.Array(Type.String()) }),
  codes: ['NOT_FOUND', 'STALE_VERSION', 'REPORT_REFUSED'],
  handle: async ({ caller, body }, { box }) => {
    const { result, code, mayHold } = await reportBox(box, workspaceCaller(caller), reportOf(body));
    return { body: { result, code, may_hold: [...mayHold] } };
  },
});

function reportOf(body: Static<typeof reportBody>): BoxReport {
  return checkInput(() => ({
    attempt: body.attempt, files: body.files.map((file) => ({ path: file.path, sha256: file.sha256 === null ? null : parseSha256(file.sha256, 'files[].sha256') })),
    kept: body.kept.map(keptOf), removed: body.removed, directories: body.directories,
    rescued: { returned: body.rescued.returned, kept: body.rescued.kept.map(keptOf) }, failed: body.failed,
  }));
}

const keptOf = ({ path, reason, moved_to }: Static<typeof keptFile>): BoxReport['kept'][number] => ({ path, reason, movedTo: moved_to });
