import { FieldError, type Version } from '../schemas/ids.ts';
import { sha256 } from './sha256.ts';

/** Shares are in ten-thousandths: 100 is 1 %. A workspace is in one of so many buckets. */
export const bucketCount = 10_000;

/** A staged move of a channel, as far as it decides what a workspace gets. Outside its share the channel leads where it led. */
export interface OpenRollout {
  readonly version: Version;
  /** Drawn when the rollout starts, so that not the same workspaces are first every time. */
  readonly seed: string;
  /** Buckets below it are inside: the current step. */
  readonly share: number;
}

/**
 * The bucket of a workspace in a rollout: the same for ever, whoever asks, and evenly spread. Its SQL twin is
 * `rollout_bucket` (migrations/waybill/0007); a test holds the two equal.
 */
export function bucketOf(seed: string, workspaceId: string): number {
  return Number.parseInt(sha256(`${seed}/${workspaceId}`).slice(0, 8), 16) % bucketCount;
}

/** Whether the rollout has come to this workspace. A greater share only adds workspaces: the bucket stays what it is. */
export const isInside = ({ seed, share }: Pick<OpenRollout, 'seed' | 'share'>, workspaceId: string): boolean => bucketOf(seed, workspaceId) < share;

/** Most steps that a rollout has. */
const stepsMax = 20;

/** `1%,10%,100%` → [100, 1000, 10000]: growing, at most two decimals, the last one everybody. @throws FieldError */
export function parseSteps(text: string): number[] {
  const refuse = (): never => {
    throw new FieldError('rollout', `2 to ${stepsMax} growing shares that end with 100%, such as 1%,10%,100%`, text);
  };
  const steps = text.split(',').map((part) => {
    const match = /^\s*(?<percent>\d{1,3}(?:\.\d{1,2})?)%\s*$/u.exec(part);
    return match === null ? refuse() : Math.round(Number(match.groups?.['percent']) * 100);
  });
  const isGrowing = steps.every((step, i) => step > (steps[i - 1] ?? 0));
  return isGrowing && steps.at(-1) === bucketCount && steps.length >= 2 && steps.length <= stepsMax ? steps : refuse();
}

/** A share as people write it. */
export const percent = (share: number): string => `${String(share / 100)} %`;

/** How a rollout is to be watched. */
export interface RolloutTerms {
  readonly steps: readonly number[];
  /** Least time that a step is watched before the next one, in milliseconds. */
  readonly watchMs: number;
  /** Halts with so many lasting refusals, if they are more than `failedShareMax` as well. */
  readonly failuresMax: number;
  /** In ten-thousandths of the workspaces concerned. */
  readonly failedShareMax: number;
}

export const defaultTerms = { watchMs: 10 * 60_000, failuresMax: 3, failedShareMax: 200 } as const;

/** How far the deliveries of the current step have come. */
export interface StepProgress {
  /** Since the step began or was resumed, by the database's clock. */
  readonly elapsedMs: number;
  /** Pages of woken workspaces are still to come: nothing can be counted yet. */
  readonly isWaking: boolean;
  /** Workspaces that hold the new release, or have it staged and wait for their restart. */
  readonly settled: number;
  /** Workspaces whose delivery of the new release ends in a refusal that lasts, and that had the previous one. */
  readonly failed: number;
  /** Workspaces whose delivery is to come or at work. */
  readonly waiting: number;
}

export type RolloutDecision =
  | { readonly act: 'wait'; readonly why: string }
  | { readonly act: 'halt'; readonly why: string }
  /** To the next step; after the last but one that is the move itself. */
  | { readonly act: 'advance' };

/** Share of the workspaces concerned that has to be settled before the next step, in ten-thousandths. */
const settledShareMin = 9_000;

/**
 * What becomes of a running rollout. `failuresKnown` is what an operator knew of when it was resumed: those are held
 * against it no more. Halts on failures at once, and advances only after the watch time, with nearly all settled.
 */
export function decideRollout(
  { watchMs, failuresMax, failedShareMax }: Omit<RolloutTerms, 'steps'>, { elapsedMs, isWaking, settled, failed, waiting }: StepProgress, failuresKnown: number,
): RolloutDecision {
  const failures = Math.max(0, failed - failuresKnown);
  const concerned = settled + failures + waiting;
  const count = `${failures} of ${concerned} workspaces concerned`;
  if (failures >= failuresMax && failures * bucketCount > failedShareMax * concerned) {
    return { act: 'halt', why: `${count} end in a refusal: the rollout halts at ${failuresMax} that are more than ${percent(failedShareMax)}` };
  }
  if (isWaking) return { act: 'wait', why: 'its workspaces are being woken' };
  if (elapsedMs < watchMs) return { act: 'wait', why: `the step is watched for ${Math.ceil((watchMs - elapsedMs) / 1_000)} s more` };
  if (settled * bucketCount >= settledShareMin * concerned) return { act: 'advance' };
  if (waiting > 0) return { act: 'wait', why: `${settled} of ${concerned} workspaces concerned are settled, ${percent(settledShareMin)} are needed` };
  return { act: 'halt', why: `${count} end in a refusal, nothing else is to come, and ${percent(settledShareMin)} have to be settled` };
}
