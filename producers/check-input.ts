import { Failure } from '../process/failure.ts';
import { FieldError } from '../schemas/ids.ts';

/** Runs a check of what the caller gave; a refused field is a Failure of kind input under its code. */
export function checkInput<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof FieldError) throw new Failure('input', error.code, error.message, { cause: error });
    throw error;
  }
}
