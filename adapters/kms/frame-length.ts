/** Bytes of one frame of a sealed release. The SDK's default of 4 KiB is five times slower (measured). */
export const frameLength = 1024 * 1024;
