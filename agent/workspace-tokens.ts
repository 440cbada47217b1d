import { readFile } from 'node:fs/promises';

import { Failure } from '../process/failure.ts';

/** Where the agent gets the token that its control plane's issuer made for it. */
export interface WorkspaceTokens {
  /** @throws Failure dependency UNAVAILABLE while there is none, or none but one that was refused */
  current(signal: AbortSignal): Promise<string>;
  /** The broker does not take this one any more. */
  refused(token: string): void;
}

/** Longest token, in characters. */
const tokenLengthMax = 16_384;

/**
 * A file that the control plane keeps fresh, as Kubernetes does with projected tokens: read anew for every request, so that a
 * new one counts at once.
 */
export function tokensFromFile(path: string): WorkspaceTokens {
  let refusedToken: string | undefined;
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
      if (token === refusedToken) throw new Failure('dependency', 'UNAVAILABLE', `the token in ${path} was refused and has not been replaced yet`);
      return token;
    },
    refused: (token) => { refusedToken = token; },
  };
}
