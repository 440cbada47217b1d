import { readFile } from 'node:fs/promises';

import { Failure } from '../process/failure.ts';

/** Where the agent gets the token that its control plane's issuer made for it. */
export interface WorkspaceTokens {
  /** @throws Failure dependency UNAVAILABLE while there is none */
  current(signal: AbortSignal): Promise<string>;
}

/** Longest token, in characters. */
const tokenLengthMax = 16_384;

/**
 * A file that the control plane keeps fresh, as Kubernetes does with projected tokens: read anew for every request, so that a
 * new one counts at once.
 */
export function tokensFromFile(path: string): WorkspaceTokens {
  return {
    current: async (signal) => {
      let token: string;
      try {
        token = (await readFile(path, { encoding: 'utf8', signal })).trim();
      } catch (error) {
        if (signal.aborted) throw error;
        throw new Failure('dependency', 'UNAVAILABLE', `no token in ${path}: ${(error as Error).message}`, { cause: error });
      }
      if (token === '' || token.length > tokenLengthMax) throw new Failure('dependency', 'UNAVAILABLE', `${path} holds no token`);
      return token;
    },
  };
}
