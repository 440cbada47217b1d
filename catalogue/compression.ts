import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';

import { Failure } from '../process/failure.ts';
import type { ReleaseLimits } from './limits.ts';

const compress = promisify(zstdCompress);
const expand = promisify(zstdDecompress);

/** Higher levels cost seconds on large archives and gain a few percent. */
const level = 9;

/**
 * Archive → zstd, as it is sealed. Not part of any digest that has to be the same tomorrow: only the archive's is.
 * @throws Failure input TOO_LARGE when it is larger than packedBytesMax or would expand more than ratioMax times
 */
export async function compressArchive(archive: Uint8Array, limits: ReleaseLimits): Promise<Buffer> {
  const packed = await compress(archive, { params: { [constants.ZSTD_c_compressionLevel]: level } });
  const fault = packedFault(packed.length, archive.length, limits);
  if (fault !== undefined) throw new Failure('input', 'TOO_LARGE', `The artifact cannot be published: ${fault}`);
  return packed;
}

/**
 * zstd → archive of exactly `archiveBytes`, the length that the signed manifest gives. Never holds more than that.
 * @throws Failure subject TOO_LARGE past a limit, INTEGRITY_FAILED when it is not zstd or not of that length
 */
export async function expandArchive(packed: Uint8Array, archiveBytes: number, limits: ReleaseLimits): Promise<Buffer> {
  const fault = archiveBytes > limits.archiveBytesMax
    ? `the archive has ${archiveBytes} bytes, more than ${limits.archiveBytesMax}`
    : packedFault(packed.length, archiveBytes, limits);
  if (fault !== undefined) throw new Failure('subject', 'TOO_LARGE', `The release is not unpacked: ${fault}`);
  let archive: Buffer;
  try {
    // In one piece, where zlib's own pieces of 16 KiB cost more than the expansion [measured]; One byte more shows that it ends there; 64 is the least.
    archive = await expand(packed, { maxOutputLength: archiveBytes, chunkSize: Math.max(archiveBytes + 1, 64) });
  } catch (error) {
    if (error instanceof RangeError) {
      throw new Failure('subject', 'TOO_LARGE', `The release expands to more than the ${archiveBytes} bytes of its manifest`, { cause: error });
    }
    throw new Failure('subject', 'INTEGRITY_FAILED', 'The opened release is not zstd', { cause: error });
  }
  if (archive.length !== archiveBytes) {
    throw new Failure('subject', 'INTEGRITY_FAILED', `The release expands to ${archive.length} bytes, its manifest says ${archiveBytes}`);
  }
  return archive;
}

function packedFault(packedBytes: number, archiveBytes: number, limits: ReleaseLimits): string | undefined {
  if (packedBytes > limits.packedBytesMax) return `it has ${packedBytes} bytes compressed, more than ${limits.packedBytesMax}`;
  if (archiveBytes > packedBytes * limits.ratioMax) {
    return `${packedBytes} bytes expand to ${archiveBytes}, more than ${limits.ratioMax} times as many`;
  }
  return undefined;
}
