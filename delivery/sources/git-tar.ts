import { Failure } from '../../process/failure.ts';

const blockBytes = 512;
/** Longest run of extended headers: a path and a link target of a few kilobytes each. */
const paxBytesMax = 64 * 1024;

/** One regular file of an archive as a git host makes it: its path with the top folder, and its bytes when they were asked for. */
export interface TarFile {
  readonly path: string;
  readonly bytes: Buffer;
}

/**
 * Reads the regular files that `wanted` names out of a tar as `git archive` writes it, piece by piece; every other file is
 * passed over. Strict: a type, a header or an extended record that git does not write refuses the whole. Names choose
 * nothing but which digest of the signed manifest the bytes are held against (decision 28).
 * @param wanted length of a file by its path in the archive; undefined: pass over
 * @throws Failure subject INTEGRITY_FAILED, TOO_LARGE (more than `bytesMax` in all)
 */
export async function* readGitTar(
  chunks: AsyncIterable<Buffer>, wanted: (path: string) => number | undefined, bytesMax: number,
): AsyncGenerator<TarFile, void, undefined> {
  const reader = new ChunkReader(chunks, bytesMax);
  let longPath: string | undefined;
  for (;;) {
    const header = await reader.take(blockBytes);
    if (header.every((byte) => byte === 0)) return; // what follows is padding, and nobody reads it
    const { name, size, type } = parseHeader(header);
    switch (type) {
      case 'g':
      case 'x': {
        if (size > paxBytesMax) throw refused(`an extended header of ${size} bytes`);
        const records = parsePax(await reader.takePadded(size));
        // The commit id, for everybody to read; anything else would speak of every file.
        if (type === 'g' && [...records.keys()].some((key) => key !== 'comment')) throw refused('a global header that git does not write');
        if (type === 'x') longPath = records.get('path');
        continue;
      }
      case '5':
      case '2':
        if (size !== 0) throw refused('a folder or link with content');
        break;
      case '0': {
        const path = longPath ?? name;
        const length = wanted(path);
        if (length === undefined) await reader.skipPadded(size);
        else if (length === size) yield { path, bytes: await reader.takePadded(size) };
        else throw refused(`${JSON.stringify(path.slice(0, 300))} with ${size} bytes instead of ${length}`);
        break;
      }
      default:
        throw refused(`an entry of the type ${JSON.stringify(type)}`);
    }
    longPath = undefined;
  }
}

function parseHeader(header: Buffer): { name: string; size: number; type: string } {
  const text = (from: number, to: number): string => {
    const field = header.subarray(from, to);
    const end = field.indexOf(0);
    return field.toString('utf8', 0, end === -1 ? field.length : end);
  };
  if (header.toString('latin1', 257, 263) !== 'ustar\0') throw refused('a header that is not ustar');
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (parseOctal(text(148, 156)) !== sum) throw refused('a header with a wrong sum');
  const prefix = text(345, 500);
  return { name: prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`, size: parseOctal(text(124, 136)), type: text(156, 157) };
}

function parseOctal(text: string): number {
  if (!/^[0-7]{1,11} ?$/u.test(text)) throw refused(`the number ${JSON.stringify(text)}`);
  return Number.parseInt(text, 8);
}

/** `<length> <key>=<value>\n`, one after the other, to the last byte. */
function parsePax(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const blank = bytes.indexOf(0x20, at);
    const length = blank === -1 ? Number.NaN : Number(/^[1-9]\d{0,5}$/u.exec(bytes.toString('latin1', at, blank))?.[0]);
    const record = bytes.toString('utf8', blank + 1, at + length - 1);
    const [key = ''] = record.split('=', 1);
    if (Number.isNaN(length) || at + length > bytes.length || bytes[at + length - 1] !== 0x0a || !paxKeys.has(key)) throw refused('an extended header that git does not write');
    records.set(key, record.slice(key.length + 1));
    at += length;
  }
  return records;
}

const paxKeys: ReadonlySet<string> = new Set(['comment', 'path', 'linkpath', 'mtime']);

/** Takes exact lengths out of pieces of any length, and no more than `bytesMax` in all. */
class ChunkReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #bytesMax: number;
  #rest: Buffer = Buffer.alloc(0);
  #read = 0;

  constructor(chunks: AsyncIterable<Buffer>, bytesMax: number) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#bytesMax = bytesMax;
  }

  async take(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    await this.#pull(bytes, (part) => parts.push(part));
    return Buffer.concat(parts, bytes);
  }

  /** The content of an entry, without what fills its last block. */
  async takePadded(bytes: number): Promise<Buffer> {
    const content = await this.take(bytes);
    await this.#pull(paddingOf(bytes));
    return content;
  }

  async skipPadded(bytes: number): Promise<void> {
    await this.#pull(bytes + paddingOf(bytes));
  }

  async #pull(bytes: number, keep: (part: Buffer) => void = () => undefined): Promise<void> {
    for (let missing = bytes; missing > 0;) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) throw refused('an end in the middle');
        this.#rest = next.value;
        this.#read += this.#rest.length;
        if (this.#read > this.#bytesMax) throw new Failure('subject', 'TOO_LARGE', `The archive of the git host expands to more than ${this.#bytesMax} bytes`);
        continue;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      keep(part);
      missing -= part.length;
    }
  }
}

const paddingOf = (bytes: number): number => (blockBytes - (bytes % blockBytes)) % blockBytes;

function refused(what: string): Failure {
  return new Failure('subject', 'INTEGRITY_FAILED', `The archive of the git host has ${what}. Nothing of it is used.`);
}
