/** Seconds before the tries after the first: eight over about half an hour, then every quarter of an hour for ever. */
const delaysSeconds = [1, 5, 20, 60, 180, 300, 540, 720];
const steadySeconds = 900;

/**
 * How long the row of a failed try waits, in milliseconds. `tries` counts the tries so far, this one included; `random`
 * in [0, 1) spreads rows that failed together over the last fifth of the delay.
 */
export function retryDelayMs(tries: number, random: number): number {
  const seconds = delaysSeconds[tries - 1] ?? steadySeconds;
  return Math.round(seconds * 1000 * (0.8 + 0.2 * random));
}
