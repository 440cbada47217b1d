import type { Knex } from 'knex';

import { purchase, revoke, type LineResult } from '../../producers/billing.ts';

/** A purchase as this small billing service knows it. */
export interface Sale {
  readonly orgId: string;
  readonly itemId: string;
  readonly purchaseId: string;
}

/**
 * A billing service as small as it can be. Whatever it writes about a sale of its own would stand in the same transaction
 * as the call of the library: then the money and the entitlement are both there, or neither.
 */
export class Billing {
  readonly #database: Knex;

  constructor(database: Knex) {
    this.#database = database;
  }

  /** Sells what the channel `stable` of the item leads to, without end. */
  async sell({ orgId, itemId, purchaseId }: Sale): Promise<LineResult> {
    return await this.#database.transaction(async (trx) => await purchase(trx, {
      org_id: orgId, item_id: itemId, purchase_id: purchaseId, source: 'purchase', policy: 'stable', valid_from: Date.now(), valid_until: null,
    }));
  }

  /** The money goes back, and with it the right to the item. */
  async refund({ orgId, itemId, purchaseId }: Sale): Promise<LineResult> {
    return await this.#database.transaction(async (trx) => await revoke(trx, {
      org_id: orgId, item_id: itemId, purchase_id: purchaseId, reason: 'refund',
    }));
  }
}
