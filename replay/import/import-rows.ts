import { time, symbolOf } from '../../schemas/field-parsers.ts';
import { deliveryModeSymbols, entitlementSourceSymbols, workspaceStatusSymbols, type DeliveryMode, type EntitlementSource, type WorkspaceStatus } from '../../schemas/generated/events.ts';
import {
  FieldError, parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseWorkspaceId, type ItemId, type OrgId, type Policy, type PurchaseId, type RuntimeId, type WorkspaceId,
} from '../../schemas/ids.ts';
import { parseKnownRuntime } from '../../schemas/runtimes.ts';
import { faultOf, type LineFault } from '../run/line-faults.ts';
import { readCsv } from '../run/read-csv.ts';

/** A workspace that was there before waybill. Its template is a matter of a backfill, which looks at its files. */
export interface ImportedWorkspace {
  readonly of: 'workspaces';
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  readonly runtime: RuntimeId;
  readonly deliveryMode: Exclude<DeliveryMode, 'unknown'>;
  readonly status: Exclude<WorkspaceStatus, 'unknown' | 'removed'>;
}

/** A purchase, subscription or grant that was there before waybill. */
export interface ImportedLine {
  readonly of: 'entitlements';
  readonly orgId: OrgId;
  readonly itemId: ItemId;
  readonly purchaseId: PurchaseId;
  readonly source: Exclude<EntitlementSource, 'unknown'>;
  readonly policy: Policy;
  readonly validFrom: number;
  readonly validUntil: number | null;
}

export type ImportedRow = ImportedWorkspace | ImportedLine;
export type ImportedKind = ImportedRow['of'];

/** A row as it came: names and values. */
export interface RawRow {
  readonly line: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface ParsedRow {
  readonly line: number;
  readonly row: ImportedRow;
}

const columns: Readonly<Record<ImportedKind, readonly string[]>> = {
  workspaces: ['workspace_id', 'org_id', 'runtime', 'delivery_mode', 'status'],
  entitlements: ['org_id', 'item_id', 'purchase_id', 'source', 'policy', 'valid_from', 'valid_until'],
};
const parseStatus = symbolOf(workspaceStatusSymbols);
const parseMode = symbolOf(deliveryModeSymbols);
const parseSource = symbolOf(entitlementSourceSymbols);

/** Text with a header line, or one JSON object a line (told by its first character), as rows. */
export function readRows(text: string): { readonly rows: RawRow[]; readonly faults: LineFault[] } {
  return /^\s*\{/u.test(text) ? readJsonLines(text) : readTable(text);
}

function readTable(text: string): { rows: RawRow[]; faults: LineFault[] } {
  const { rows: [header, ...rest], faults } = readCsv(text);
  const names = header?.cells ?? [];
  const rows = rest.flatMap(({ line, cells }): RawRow[] => {
    if (cells.length === names.length) return [{ line, fields: Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ''])) }];
    faults.push({ line, what: `it has ${cells.length} columns, and the header ${names.length}` });
    return [];
  });
  return { rows, faults };
}

function readJsonLines(text: string): { rows: RawRow[]; faults: LineFault[] } {
  const faults: LineFault[] = [];
  const rows = text.split('\n').flatMap((json, index): RawRow[] => {
    if (json.trim() === '') return [];
    try {
      const fields: unknown = JSON.parse(json);
      if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return [{ line: index + 1, fields: fields as Record<string, unknown> }]; // an object that is no array
      faults.push({ line: index + 1, what: 'it is no JSON object' });
    } catch (error) {
      faults.push({ line: index + 1, what: `it is no JSON: ${error instanceof Error ? error.message : String(error)}` });
    }
    return [];
  });
  return { rows, faults };
}

/** Rows → what is imported, each field by its own rule; all faults at once. The same row again is a repeat, another with its id a fault. */
export function parseRows(kind: ImportedKind, raw: readonly RawRow[]): { readonly parsed: ParsedRow[]; readonly repeats: number; readonly faults: LineFault[] } {
  const faults: LineFault[] = [];
  const byId = new Map<string, ParsedRow>();
  let repeats = 0;
  for (const { line, fields } of raw) {
    try {
      const unknown = Object.keys(fields).find((name) => !columns[kind].includes(name));
      if (unknown !== undefined) throw new FieldError(unknown, `one of the columns ${columns[kind].join(', ')}`, fields[unknown]);
      const row = kind === 'workspaces' ? parseWorkspace(fields) : parseLine(fields);
      const before = byId.get(subjectOf(row));
      if (before === undefined) byId.set(subjectOf(row), { line, row });
      else if (JSON.stringify(before.row) === JSON.stringify(row)) repeats += 1;
      else faults.push({ line, what: `${subjectOf(row)} stands in line ${before.line} already, with other content` });
    } catch (error) {
      faults.push(faultOf(line, error));
    }
  }
  return { parsed: [...byId.values()], repeats, faults };
}

/** What names a row: a workspace id, or org/item/purchase. */
export const subjectOf = (row: ImportedRow): string => (row.of === 'workspaces' ? row.workspaceId : `${row.orgId}/${row.itemId}/${row.purchaseId}`);

/** Nothing stands for what is left out. */
const given = (value: unknown): unknown => (value === '' || value === null ? undefined : value);

function parseWorkspace(fields: RawRow['fields']): ImportedWorkspace {
  const status = parseStatus(given(fields['status']) ?? 'online', 'status', 'strict');
  const deliveryMode = parseMode(given(fields['delivery_mode']) ?? 'volume', 'delivery_mode', 'strict');
  if (status === 'removed' || status === 'unknown' || deliveryMode === 'unknown') throw new FieldError('status', 'that of a workspace that is there', fields['status']);
  return {
    of: 'workspaces', workspaceId: parseWorkspaceId(fields['workspace_id']), orgId: parseOrgId(fields['org_id']), runtime: parseKnownRuntime(fields['runtime']), deliveryMode, status,
  };
}

function parseLine(fields: RawRow['fields']): ImportedLine {
  const source = parseSource(given(fields['source']) ?? 'purchase', 'source', 'strict');
  if (source === 'unknown') throw new FieldError('source', 'one that is known', source);
  const validFrom = moment(fields['valid_from'], 'valid_from');
  const validUntil = given(fields['valid_until']) === undefined ? null : moment(fields['valid_until'], 'valid_until');
  if (validUntil !== null && validUntil <= validFrom) throw new FieldError('valid_until', 'empty or after valid_from', fields['valid_until']);
  return {
    of: 'entitlements', orgId: parseOrgId(fields['org_id']), itemId: parseItemId(fields['item_id']), purchaseId: parsePurchaseId(fields['purchase_id']), source,
    policy: parsePolicy(given(fields['policy']) ?? 'stable'), validFrom, validUntil,
  };
}

/** A time such as 2026-01-31T00:00:00Z, a Date of a query, or milliseconds since the epoch. */
function moment(value: unknown, field: string): number {
  const parsed = value instanceof Date ? value.getTime() : typeof value === 'string' && /^\d{4}-\d{2}-\d{2}T.*(?:Z|[+-]\d{2}:\d{2})$/u.test(value) ? Date.parse(value) : Number(given(value) ?? Number.NaN);
  if (Number.isNaN(parsed)) throw new FieldError(field, 'a time such as 2026-01-31T00:00:00Z', value);
  return time(parsed, field, 'strict');
}
