import { channel } from 'node:diagnostics_channel';

/**
 * The steps of the main thread that a crash or a freeze may fall between, in the order of an attempt; the steps of the file
 * work are published by adapters/volume. `…:commit` is passed at the end of a transaction, `…:committed` once its commit
 * was answered.
 */
export const stepNames = [
  'claim:committed',
  'start:commit', 'start:committed',
  'inspect', 'fence', 'survey',
  'grant:commit', 'grant:committed', 'fetch', 'unseal', 'build',
  'permit:commit', 'permit:committed', 'apply', 'probe',
  'finish:commit', 'finish:committed',
  'staged:commit', 'staged:committed',
  'removal:commit', 'removal:committed',
  'park:commit', 'park:committed',
  'drift:commit', 'drift:committed',
  'settle', 'close:commit', 'close:committed',
] as const;

/** The same of a run of replay/: where its process may be killed. `run:piece` is one piece with its checkpoint. */
export const runStepNames = [
  'run:leased', 'run:piece:commit', 'run:piece:committed',
  'backfill:change:commit', 'backfill:change:committed',
  'replay:batch:commit',
  'import:row:commit', 'import:row:committed',
] as const;

export type StepName = (typeof stepNames)[number] | (typeof runStepNames)[number];

/** What a subscriber of `waybill:step` gets. */
export interface PassedStep {
  readonly name: StepName;
  /** The attempt, a workspace or a release: no secret. */
  readonly detail: string;
}

export const stepChannel = channel('waybill:step');

/** Says that a step is reached. Subscribers run inside it: a process that one of them kills does nothing after it. */
export function passStep(name: StepName, detail: string | number): void {
  if (stepChannel.hasSubscribers) stepChannel.publish({ name, detail: String(detail) } satisfies PassedStep);
}
