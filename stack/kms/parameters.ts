import { KmsError } from './kms-error.ts';

/** The named values of a request. Every reader refuses a wrong one with ValidationException and its name. */
export class Parameters {
  readonly #values: Readonly<Record<string, unknown>>;

  /** In: the parsed body; the names that the operation knows. What it does not know is refused, not ignored. */
  constructor(body: unknown, known: readonly string[]) {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('The body must be a JSON object.');
    this.#values = Object.fromEntries(Object.entries(body));
    for (const [name, value] of Object.entries(this.#values)) {
      if (value !== null && value !== undefined && !known.includes(name)) throw invalid(`${name} is not supported by the local KMS.`);
    }
  }

  optionalText(name: string): string | undefined {
    const value = this.#values[name] ?? undefined;
    if (value !== undefined && typeof value !== 'string') throw invalid(`${name} must be a string.`);
    return value;
  }

  text(name: string): string {
    const value = this.optionalText(name);
    if (value === undefined || value === '') throw invalid(`${name} must not be empty.`);
    return value;
  }

  optionalWhole(name: string, least: number, most: number): number | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      throw invalid(`${name} must be a whole number from ${String(least)} to ${String(most)}.`);
    }
    return value;
  }

  flag(name: string): boolean {
    const value = this.#values[name] ?? false;
    if (typeof value !== 'boolean') throw invalid(`${name} must be true or false.`);
    return value;
  }

  bytes(name: string, most: number): Buffer {
    const text = this.text(name);
    const bytes = Buffer.from(text, 'base64');
    if (bytes.toString('base64') !== text) throw invalid(`${name} must be base64.`);
    if (bytes.length > most) throw invalid(`${name} must have at most ${String(most)} bytes.`);
    return bytes;
  }

  /** A map of strings; nothing and an empty one are the same. */
  strings(name: string): Readonly<Record<string, string>> {
    const value = this.#values[name] ?? {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${name} must be a map.`);
    const entries: [string, string][] = [];
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') throw invalid(`${name} must be a map of strings.`);
      entries.push([key, text]);
    }
    return Object.fromEntries(entries);
  }
}

export const invalid = (message: string): KmsError => new KmsError('ValidationException', message);
