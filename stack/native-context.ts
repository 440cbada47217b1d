import type { Ports } from './ports.ts';
import type { Java } from './java.ts';
import type { Part } from './parts.ts';

/** Secrets made once for a state folder and kept in it. */
export interface StackCredentials {
  databasePassword: string;
  s3: { accessKeyId: string; secretAccessKey: string };
  kms: { accessKeyId: string; secretAccessKey: string };
}

/** What the start of each native service is given. */
export interface NativeContext {
  stateDir: string;
  logDir: string;
  java: Java;
  ports: Ports;
  credentials: StackCredentials;
  /** false: settings of tests, which survive the end of any process but not of the machine, and a JVM without its slow, hot compiler. */
  durable: boolean;
  report: (line: string) => void;
  signal: AbortSignal;
  /** The folder of a part, downloaded if it has to be. */
  fetch: (part: Part) => Promise<string>;
}
