import Type from 'typebox';

import { definePublicRoute } from '../route.ts';

/** Longest wait for one part, in milliseconds: whoever balances load asks every few seconds. */
const checkDeadlineMs = 2_000;

export const readyRoute = definePublicRoute({
  method: 'GET',
  path: '/readyz',
  summary: 'Whether it can serve, and what is not ready',
  successes: ['ok', 'unready'],
  answer: Type.Object({ ready: Type.Boolean(), not_ready: Type.Array(Type.String(), { description: 'Names of the parts that are not ready' }) }),
  handle: async ({ signal }, { checks }) => {
    const names = Object.keys(checks);
    const results = await Promise.allSettled(Object.values(checks).map(async (check) => { await withinDeadline(check); }));
    const not_ready = names.filter((_, i) => results[i]?.status === 'rejected');
    if (signal.aborted) not_ready.push('draining');
    return { outcome: not_ready.length === 0 ? 'ok' : 'unready', body: { ready: not_ready.length === 0, not_ready } };
  },
});

async function withinDeadline(check: () => Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => { reject(new Error('no answer in time')); }, checkDeadlineMs);
  try {
    await Promise.race([check(), promise]);
  } finally {
    clearTimeout(timer);
  }
}
