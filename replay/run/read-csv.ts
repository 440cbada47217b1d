import { parse } from 'csv-parse/sync';

import type { LineFault } from './line-faults.ts';

export interface CsvRow {
  readonly line: number;
  readonly cells: readonly string[];
}

/** Nothing is trimmed or guessed: what is not exactly an id is none. */
export function readCsv(text: string): { rows: CsvRow[]; faults: LineFault[] } {
  try {
    const rows: CsvRow[] = [];
    parse(text, {
      bom: true, relax_column_count: true, skip_empty_lines: true, record_delimiter: ['\r\n', '\n', '\r'],
      on_record: (record: string[], { lines }) => {
        rows.push({ line: lines, cells: record });
        return null;
      },
    });
    return { rows, faults: [] };
  } catch (error) {
    const line = typeof error === 'object' && error !== null && 'lines' in error ? Number(error.lines) : 1;
    return { rows: [], faults: [{ line, what: `it is no CSV: ${error instanceof Error ? error.message : String(error)}` }] };
  }
}
