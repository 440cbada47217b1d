import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';

import { Failure } from '../../process/failure.ts';

/** The text of a file, or of standard input for `-`. @throws Failure input NOT_FOUND */
export async function readInput(path: string): Promise<string> {
  try {
    return path === '-' ? await text(process.stdin) : await readFile(path, 'utf8');
  } catch (error) {
    throw new Failure('input', 'NOT_FOUND', `The file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
