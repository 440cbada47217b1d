import Type from 'typebox';

import { everyTenant, tenantTx } from '../../process/database.ts';
import { listAudit } from '../../process/list-audit.ts';
import { checkInput } from '../../producers/check-input.ts';
import { parseOrgId } from '../../schemas/ids.ts';
import { idText, nullable, pageFrom, pageOf, pageQuery, parsePage } from '../page.ts';
import { defineRoute } from '../route.ts';

const text = (description: string) => Type.Optional(Type.String({ maxLength: 400, description }));

export const auditRoute = defineRoute({
  method: 'GET',
  path: '/v1/audit',
  summary: 'What was decided, why and because of what, newest first',
  callers: { operator: 'security' },
  query: Type.Object({
    ...pageQuery,
    org: text('Of this org alone'), subject_kind: text('line, workspace, item, release, seller, dead-letter, expiry, caller'),
    subject_id: text('The full id'), action: text('Of this action alone'), outcome: text('Of this outcome alone'), code: text('With this code alone'),
  }, { additionalProperties: false }),
  answer: pageOf(Type.Object({
    id: Type.Integer(), at: Type.String({ description: 'RFC 3339' }), subject_kind: Type.String(), subject_id: Type.String(), org_id: nullable(Type.String()),
    action: Type.String(), outcome: Type.String(), code: nullable(Type.String()), detail: Type.Record(Type.String(), Type.Unknown()),
    caused_by: nullable(Type.String()), attempt: nullable(Type.Integer()),
  })),
  handle: async ({ query }, { database }) => {
    const { limit, after } = parsePage(query, [idText]);
    const org = query.org === undefined ? undefined : checkInput(() => parseOrgId(query.org, 'org'));
    const found = await tenantTx(database, org ?? everyTenant, async (trx) => await listAudit(trx, {
      org, subjectKind: query.subject_kind, subjectId: query.subject_id,
      action: query.action, outcome: query.outcome, code: query.code, before: after === undefined ? undefined : Number(after[0]), limit: limit + 1,
    }));
    const rows = found.map(({ subjectKind, subjectId, orgId, causedBy, at, ...row }) =>
      ({ ...row, at: at.toISOString(), subject_kind: subjectKind, subject_id: subjectId, org_id: orgId, caused_by: causedBy }));
    return { body: pageFrom(rows, limit, ({ id }) => [String(id)]) };
  },
});
