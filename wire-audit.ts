import { createAuditHeads, type S3AuditHeads } from './adapters/s3/audit-heads.ts';
import { runChainer } from './process/audit-chainer.ts';
import type { Logger } from './process/log.ts';
import { storeOf, wireDatabase, type Needs, type Wired } from './wire.ts';

/** Where the audit chain is published. */
export function wireAuditHeads(config: Needs<'chainer'>): S3AuditHeads & Disposable {
  const heads = createAuditHeads(storeOf(config));
  return Object.assign(heads, { [Symbol.dispose]: () => { heads.close(); } });
}

export function wireChainer(config: Needs<'chainer'>, log: Logger): Wired {
  const own = wireDatabase(config, 'chainer', 2);
  const heads = wireAuditHeads(config);
  return {
    name: 'chainer',
    run: async (signal) => { await runChainer({ database: own, heads, signal, log }); },
    [Symbol.asyncDispose]: async () => {
      heads.close();
      await own.destroy();
    },
  };
}
