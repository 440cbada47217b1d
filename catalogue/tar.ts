/**
 * The one tar that a set of files has: POSIX.1-2001 (pax), regular files only, mode 0644 or 0755, owner, group and times
 * zero. A reader needs no parser: it makes the header that has to be there and compares (catalogue/archive.ts). Any tar
 * program reads it.
 */
export const tarBlockBytes = 512;
/** Two zero blocks end an archive. */
export const tarEnd: Uint8Array = new Uint8Array(2 * tarBlockBytes);

/** Header blocks of one file: 512 bytes, or 1,536 and more when its name needs a pax record. */
export function tarHeader(path: string, bytes: number, executable: boolean): Buffer {
  const mode = executable ? 0o755 : 0o644;
  // A name of at most 100 ASCII bytes fits the plain header; every other goes into a pax record, under one rule.
  if (path.length <= 100 && /^[\x20-\x7e]*$/u.test(path)) return block({ name: path, mode, bytes, type: '0' });
  const record = paxRecord('path', path);
  return Buffer.concat([
    block({ name: 'pax', mode: 0o644, bytes: record.length, type: 'x' }), record, padding(record.length),
    block({ name: 'long', mode, bytes, type: '0' }),
  ]);
}

/** Zero bytes up to the next block. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((tarBlockBytes - (bytes % tarBlockBytes)) % tarBlockBytes);
}

/** `<length> <key>=<value>\n`, where length counts the whole record in decimal, its own digits among it. */
function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const restBytes = Buffer.byteLength(rest);
  let length = restBytes + 1;
  while (String(length).length + restBytes !== length) length += 1;
  return Buffer.from(`${length}${rest}`);
}

function block(entry: { name: string; mode: number; bytes: number; type: '0' | 'x' }): Buffer {
  const header = Buffer.alloc(tarBlockBytes);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(entry.name, 0, 'latin1');
  header.write(octal(entry.mode, 7), 100, 'latin1');
  header.write(octal(0, 7), 108, 'latin1'); // uid
  header.write(octal(0, 7), 116, 'latin1'); // gid
  header.write(octal(entry.bytes, 11), 124, 'latin1');
  header.write(octal(0, 11), 136, 'latin1'); // mtime
  header.write(' '.repeat(8), 148, 'latin1'); // the sum counts itself as blanks
  header.write(entry.type, 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  header.write(octal(0, 7), 329, 'latin1'); // device
  header.write(octal(0, 7), 337, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)} `, 148, 'latin1');
  return header;
}
