import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Which addresses a name may lead to: `public` ones only, or `private` networks and this machine too. */
export type AddressPolicy = 'public' | 'private';

/** Platform services at public-looking addresses that only machines inside the platform reach. */
const platformServices = new Set(['168.63.129.16']);

/** Ranges that a host on the allowlist may have although it is private. Never link-local: there sit the metadata services. */
const privateRanges = new Set(['private', 'loopback', 'uniqueLocal', 'carrierGradeNat']);

/** All of the IPv6 space that is handed out for the public network; ipaddr.js calls more than that unicast. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** Whether this address (text of an IPv4 or IPv6 address) may be dialled (C15). What is no address may not. */
export function isAddressAllowed(text: string, policy: AddressPolicy): boolean {
  const address = parseAddress(text);
  if (address === undefined) return false;
  const range = address.range();
  if (policy === 'private' && privateRanges.has(range)) return true;
  if (range !== 'unicast' || platformServices.has(address.toString())) return false;
  return address instanceof ipaddr.IPv4 || address.match(globalUnicast);
}

/** Undefined for what is no address in full spelling, and for scoped ones, which lead to the local link. */
function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  switch (isIP(text)) {
    case 4:
      return ipaddr.IPv4.parse(text);
    case 6: {
      // ipaddr.js takes `::127.0.0.1` for `::ffff:127.0.0.1`; in the URL parser's spelling there is no such doubt.
      const url = `http://[${text}]`;
      if (!URL.canParse(url)) return undefined;
      const address = ipaddr.IPv6.parse(new URL(url).hostname.slice(1, -1));
      return address.isIPv4MappedAddress() ? address.toIPv4Address() : address; // judged as what it is
    }
    default:
      return undefined;
  }
}
