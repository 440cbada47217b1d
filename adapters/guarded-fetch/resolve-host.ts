import { isIP } from 'node:net';

import { Failure } from '../../process/failure.ts';
import { isAddressAllowed } from './address-policy.ts';
import { isListed } from './allowed-hosts.ts';
import { addressRefused, guardedLookup, systemResolve, type Resolve } from './guarded-lookup.ts';

/**
 * For clients that dial by themselves (git): a host → the one address to dial, judged as guarded fetches judge theirs.
 * Any public host may be named; one at a private address only when `host:port` is listed (C15).
 * @throws Failure subject ADDRESS_REFUSED; dependency UNAVAILABLE when the name has no address
 */
export function createHostResolver(privateHosts: readonly string[], resolve: Resolve = systemResolve) {
  return async (hostname: string, port: number): Promise<string> => {
    const policy = isListed(privateHosts, hostname, port) ? 'private' : 'public';
    const literal = hostname.replace(/^\[(?<address>.*)\]$/u, '$<address>');
    if (isIP(literal) !== 0) {
      if (!isAddressAllowed(literal, policy)) throw addressRefused(hostname, literal);
      return literal;
    }
    return await new Promise((found, reject) => {
      guardedLookup(policy, resolve)(hostname, { all: false }, (error, address) => {
        if (error === null && typeof address === 'string') found(address);
        else reject(error instanceof Failure ? error : new Failure('dependency', 'UNAVAILABLE', `The name ${hostname} has no address: ${error?.message ?? 'several were given'}`, { cause: error }));
      });
    });
  };
}
