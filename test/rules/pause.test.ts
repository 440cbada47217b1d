import { expect, test } from 'vitest';

import { pause } from '../../process/pause.ts';

test('a pause ends at once, and without an error, when it is told to stop; also when it was told before', async () => {
  const stop = new AbortController();
  const waiting = pause(60_000, stop.signal);
  stop.abort();
  await waiting;
  await pause(60_000, stop.signal);
});

test('a pause that cannot be is told, not passed over', async () => {
  await expect(pause('soon' as never, new AbortController().signal)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
});
