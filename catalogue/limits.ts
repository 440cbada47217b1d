/** What a release may measure (C14). Over a limit is TOO_LARGE, never a silent drop; each holds at the limit (I23). */
export interface ReleaseLimits {
  /** Bytes of the archive after compression. */
  readonly packedBytesMax: number;
  /** Bytes of the archive before compression. */
  readonly archiveBytesMax: number;
  /** Archive bytes per compressed byte: what expands further is taken for a bomb. */
  readonly ratioMax: number;
  readonly filesMax: number;
  /** Bytes of one file. */
  readonly entryBytesMax: number;
}

const mebibyte = 1024 * 1024;

export const defaultLimits: ReleaseLimits = {
  packedBytesMax: 200 * mebibyte,
  archiveBytesMax: 512 * mebibyte,
  ratioMax: 200,
  filesMax: 10_000,
  entryBytesMax: 64 * mebibyte,
};

/** Longest path below the volume's root in bytes of UTF-8, and most components of one, the target root among them. */
export const targetPathBytesMax = 240;
export const targetPathDepthMax = 16;
