import { FieldError, type RuntimeId } from './ids.ts';

/** A runtime: where its config root is inside a volume, and which files its boot probe reads there (C9). */
export interface Runtime {
  /** Relative to the root of the volume, no trailing slash. */
  configRoot: string;
  /** Names below the config root that a boot reads before the agent starts. */
  identityFiles: readonly string[];
}

/** The allowlist of runtimes (B1). A slug that is not here is refused, a template's slug among them. */
const runtimes: Readonly<Record<string, Runtime>> = {
  'claude-code': { configRoot: 'configs', identityFiles: ['system-prompt.md', 'config.yaml'] },
  codex: { configRoot: 'configs', identityFiles: ['system-prompt.md', 'config.yaml'] },
  langgraph: { configRoot: 'configs', identityFiles: ['system-prompt.md', 'config.yaml'] },
  hermes: { configRoot: '.hermes', identityFiles: ['system-prompt.md', 'config.yaml'] },
};

export const runtimeIds: readonly string[] = Object.keys(runtimes);

export function findRuntime(id: RuntimeId | string): Runtime | undefined {
  return Object.hasOwn(runtimes, id) ? runtimes[id] : undefined;
}

/** unknown → a runtime on the allowlist; FieldError otherwise. */
export function parseKnownRuntime(value: unknown, field = 'runtime'): RuntimeId {
  if (typeof value !== 'string' || findRuntime(value) === undefined) {
    throw new FieldError(field, `one of ${runtimeIds.join(', ')}`, value);
  }
  return value as RuntimeId; // it is a key of the allowlist
}
