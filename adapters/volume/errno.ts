import { Failure } from '../../process/failure.ts';

/** Runs one system call; the error codes named become values, every other error is thrown on. */
export function expecting<Result, Expected extends string>(
  expected: Readonly<Record<string, Expected>>,
  call: () => Result,
): Result | Expected {
  try {
    return call();
  } catch (error) {
    const value = isErrno(error) && Object.hasOwn(expected, error.code) ? expected[error.code] : undefined;
    if (value === undefined) throw error;
    return value;
  }
}

const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const noSupport = new Set(['EXDEV', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP', 'EMLINK']);
const processExhausted = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN']);

/**
 * What the system refused on a volume, as a Failure. A refusal is always the matter of this one workspace (its row is due
 * again), never our bug: a tenant can provoke any of them, and a bug would stop the process.
 */
export function volumeFailure(volume: string, thrown: unknown): unknown {
  if (!isErrno(thrown)) return thrown;
  const what = `${thrown.syscall ?? 'a call'} on the volume ${volume} was refused with ${thrown.code}`;
  if (processExhausted.has(thrown.code)) {
    return new Failure('dependency', 'UNAVAILABLE', `${what}: this process has no room for more open files or memory`, { cause: thrown });
  }
  if (noRoom.has(thrown.code)) return new Failure('subject', 'VOLUME_FULL', `${what}: it has no room left`, { cause: thrown });
  if (noSupport.has(thrown.code)) {
    return new Failure('subject', 'UNSUPPORTED_VOLUME', `${what}: it is not one local file system with hard links`, { cause: thrown });
  }
  if (thrown.code === 'ENOENT') {
    return new Failure('subject', 'VOLUME_UNWRITABLE', `${what}: if there is no such folder, mount or make the volume of the workspace there`, { cause: thrown });
  }
  return new Failure('subject', 'VOLUME_UNWRITABLE', what, { cause: thrown });
}

function isErrno(error: unknown): error is NodeJS.ErrnoException & { code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}
