/** What a command ends with; scripts rely on the numbers (docs/cli.md). */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  nothingMatched: 3,
  partial: 4,
  guarded: 5,
  leaseHeld: 6,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeMeanings: Readonly<Record<ExitCode, string>> = {
  0: 'done',
  1: 'failed; the message has a code and a cure',
  2: 'the command line or the configuration is not usable; nothing was done',
  3: 'nothing matched',
  4: 'done in part; the rest is named',
  5: 'a guard stopped it, or found what it guards against',
  6: 'another process has the run',
  130: 'interrupted; the same command goes on',
};
