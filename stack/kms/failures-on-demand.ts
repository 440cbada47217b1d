import { KmsError } from './kms-error.ts';

/** One thing that tests ask for: the next `times` calls of an operation (or of any) fail so. */
export interface FailureOnDemand {
  operation: string | undefined;
  error: string;
  times: number;
}

const statuses: Readonly<Record<string, number>> = { KMSInternalException: 500, DependencyTimeoutException: 503, ServiceUnavailableException: 503 };

/** Failures that a test ordered, in the order of the orders. Held in memory: a restart is well again. */
export class FailuresOnDemand {
  #orders: FailureOnDemand[] = [];

  order(failure: FailureOnDemand): void {
    this.#orders.push({ ...failure });
  }

  clear(): void {
    this.#orders = [];
  }

  /** Throws what was ordered for this operation, if anything is left of it. */
  strike(operation: string): void {
    const order = this.#orders.find((each) => each.times > 0 && (each.operation === undefined || each.operation === operation));
    if (order === undefined) return;
    order.times -= 1;
    throw new KmsError(order.error, `${order.error} was ordered for this call of ${operation}.`, statuses[order.error] ?? 400);
  }
}
