import { Failure } from '../../process/failure.ts';

/** Everything of ours on a volume that is not delivered: attempts and kept files. */
export const waybillFolder = '.waybill';
/** Longest path below the volume's root, in bytes of UTF-8 (C14). */
export const pathBytesMax = 240;
/** Most components of a path, the file's own name among them (C14). */
export const pathDepthMax = 16;

/**
 * Refuses every path that could lead out of the volume, into `.waybill`, or past a limit. The plan has looked already;
 * this is the last look before a path meets the file system (C14, I23).
 * @throws Failure subject PATH_REFUSED
 */
export function checkVolumePath(path: string): void {
  const fault = faultOf(path);
  if (fault !== null) {
    throw new Failure('subject', 'PATH_REFUSED', `the path ${JSON.stringify(path.slice(0, 300))} is not delivered: ${fault}`);
  }
}

/** As checkVolumePath for a whole set, in which no path may stand twice or below another file. */
export function checkVolumePaths(paths: readonly string[]): void {
  const files = new Set<string>();
  for (const path of paths) {
    checkVolumePath(path);
    if (files.has(path)) throw new Failure('subject', 'PATH_REFUSED', `the path ${JSON.stringify(path)} stands twice in one set`);
    files.add(path);
  }
  for (const path of paths) {
    const above = foldersAbove(path).find((folder) => files.has(folder));
    if (above !== undefined) {
      throw new Failure('subject', 'PATH_REFUSED', `${JSON.stringify(path)} lies below ${JSON.stringify(above)}, which is a file of the same set`);
    }
  }
}

function faultOf(path: string): string | null {
  const components = path.split('/');
  if (path === '' || components.includes('')) return 'it is absolute, or one of its components is empty';
  if (components.includes('.') || components.includes('..')) return 'it has a component "." or ".."';
  if (path.includes('\0')) return 'it contains a NUL character';
  if (!path.isWellFormed()) return 'it is not well-formed Unicode';
  if (Buffer.byteLength(path) > pathBytesMax) return `it is longer than ${pathBytesMax} bytes`;
  if (components.length > pathDepthMax) return `it is deeper than ${pathDepthMax} components`;
  if (components[0]?.toLowerCase() === waybillFolder) return `${waybillFolder} is where attempts do their work`;
  return null;
}

/** `a/b/c` → `a`, `a/b`. */
export function foldersAbove(path: string): string[] {
  const components = path.split('/').slice(0, -1);
  return components.map((_, index) => components.slice(0, index + 1).join('/'));
}
