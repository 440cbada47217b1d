import http from 'node:http';
import https from 'node:https';
import { Socket } from 'node:net';

import { isAddressAllowed, type AddressPolicy } from './address-policy.ts';
import { addressOf, parseAllowedUrl } from './allowed-hosts.ts';
import { addressRefused, guardedLookup, systemResolve, type Resolve } from './guarded-lookup.ts';

/** What a client that speaks a protocol of its own (the AWS SDK) makes its connections with. */
export interface EndpointAgents {
  readonly httpAgent: http.Agent;
  readonly httpsAgent: https.Agent;
}

/**
 * Agents that reach one configured endpoint and nothing else, judged as guarded fetches judge theirs (C15): the literal now,
 * every DNS answer and the connected address at each dial; no proxy from the environment. An endpoint whose name leads to a
 * private address is listed in `privateHosts`.
 * @throws Failure subject ADDRESS_REFUSED
 */
export function guardedAgents(endpoint: string, privateHosts: readonly string[], resolve: Resolve = systemResolve): EndpointAgents {
  const { hostname, port, protocol } = new URL(endpoint);
  const host = `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`;
  const { url, policy } = parseAllowedUrl(endpoint, { hosts: [host], privateHosts });
  const literal = addressOf(url);
  if (literal !== undefined && !isAddressAllowed(literal, policy)) throw addressRefused(hostname, literal);
  const options = { keepAlive: true, maxSockets: 50, lookup: guardedLookup(policy, resolve) };
  return { httpAgent: judging(new http.Agent(options), policy, host), httpsAgent: judging(new https.Agent(options), policy, host) };
}

/** The same agent, which dials the endpoint alone and lets go of a socket that reached somewhere else than it may. */
function judging<A extends http.Agent>(agent: A, policy: AddressPolicy, host: string): A {
  const connect = agent.createConnection.bind(agent);
  return Object.assign(agent, {
    createConnection: (...[asked, created]: Parameters<typeof connect>) => {
      // Buckets in host names, redirects, whatever a client comes upon.
      const target = `${asked.host ?? ''}:${String(asked.port ?? '')}`;
      if (bare(target) !== bare(host)) {
        created?.(addressRefused(target, target), new Socket());
        return undefined;
      }
      const socket = connect(asked, created);
      socket?.once('connect', () => {
        const address = socket instanceof Socket ? socket.remoteAddress ?? '' : '';
        if (!isAddressAllowed(address, policy)) socket.destroy(addressRefused(target, address));
      });
      return socket;
    },
  });
}

/** Without the brackets of IPv6, which some write and some do not. */
const bare = (host: string): string => host.replaceAll(/[[\]]/gu, '');
