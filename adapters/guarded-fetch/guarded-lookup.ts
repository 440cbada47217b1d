import { lookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';

import { Failure } from '../../process/failure.ts';
import { isAddressAllowed, type AddressPolicy } from './address-policy.ts';

/** How names become addresses; the system's resolver unless a test stands in for a hostile one. */
export type Resolve = (hostname: string, answer: (error: Error | null, addresses: LookupAddress[]) => void) => void;

export const systemResolve: Resolve = (hostname, answer) => { lookup(hostname, { all: true }, answer); };

/**
 * The lookup of a socket that is about to dial: every answer is judged, and one bad answer refuses the name, because a
 * name that leads to both worlds is a trick (I13). What is returned here is what is dialled: there is no second look.
 */
export function guardedLookup(policy: AddressPolicy, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const [first] = addresses;
      const bad = addresses.find(({ address }) => !isAddressAllowed(address, policy));
      if (first === undefined || bad !== undefined) callback(addressRefused(hostname, bad?.address ?? 'no address'), '', 0);
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

export function addressRefused(hostname: string, address: string): Failure {
  return new Failure('subject', 'ADDRESS_REFUSED', `The fetch is refused: ${hostname} leads to ${address}, which is not a public address`);
}
