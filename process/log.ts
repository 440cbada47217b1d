import pino, { type Logger } from 'pino';

export type { Logger };

/**
 * Structured logs, one JSON object a line, to standard error. ERROR means that a person must act now;
 * a business refusal is INFO. Secrets never get here: URLs are logged without their query (SECURITY.md).
 * `fd`: an open file instead of standard error.
 */
export function createLogger(level: string, role: string, fd = 2): Logger {
  return pino(
    { level, base: { role }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    pino.destination({ fd, sync: true }),
  );
}

/** Says nothing; for tests and for commands whose output is their own. */
export const silentLogger: Logger = pino({ level: 'silent' });
