import { styleText } from 'node:util';

/** Where a command writes: results to standard output, progress to standard error. Under `--json` only JSON. */
export interface Streams {
  readonly out: Sink;
  readonly err: Sink;
}

export interface Sink {
  write(text: string): unknown;
  /** A terminal that shows colours, and nobody asked for none. */
  readonly hasColours?: boolean;
}

export type Style = 'green' | 'red' | 'yellow' | 'dim' | 'bold' | 'cyan';

/** What a command says. A command gives both forms of its result; which one is written is decided here. */
export class Output {
  readonly json: boolean;
  readonly #streams: Streams;

  constructor(streams: Streams, { json }: { json: boolean }) {
    this.#streams = streams;
    this.json = json;
  }

  /** The result: one JSON document under `--json`, else the text that `text` makes of it. */
  result<T>(value: T, text: (value: T) => string): void {
    if (this.json) this.#streams.out.write(`${JSON.stringify(value)}\n`);
    else this.line(text(value));
  }

  /** A line for people; nothing under `--json`. */
  line(text = ''): void {
    if (!this.json) this.#streams.out.write(`${text}\n`);
  }

  /** One event of a stream: a JSON document a line under `--json`, else a line for people. */
  event<T>(value: T, text: string): void {
    this.#streams.out.write(this.json ? `${JSON.stringify(value)}\n` : `${text}\n`);
  }

  /** Progress, to standard error; nothing under `--json`. */
  note(text: string): void {
    if (!this.json) this.#streams.err.write(`${this.style('dim', text)}\n`);
  }

  /** An error: its code, what was wrong, the way out. */
  error(error: { readonly code: string; readonly message: string; readonly cure: string }, detail?: string): void {
    const { code, message, cure } = error;
    if (this.json) {
      this.#streams.err.write(`${JSON.stringify({ error: { code, message, cure } })}\n`);
      return;
    }
    this.#streams.err.write(`${this.style('red', code)}: ${message}\n${cure}\n`);
    if (detail !== undefined) this.#streams.err.write(`${detail}\n`);
  }

  /** Text in a colour, on a terminal only. */
  style(style: Style, text: string): string {
    return this.#streams.out.hasColours === true ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** Rows as columns, each as wide as its widest cell; the header is the names of the columns. */
export function table<Column extends string>(columns: readonly Column[], rows: readonly Readonly<Record<Column, string | number | null>>[]): string {
  const cells = [columns.map(String), ...rows.map((row) => columns.map((column) => String(row[column] ?? '–')))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  return cells.map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd()).join('\n');
}
