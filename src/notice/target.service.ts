import { Injectable } from '@nestjs/common';
import type { LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Config } from '../platform/config/config.ts';
import { isSpecial } from './special-address.ts';

/** A webhook's URL, and its addresses, which have been checked. */
interface Target {
  readonly url: URL;
  /** The only addresses to connect to. */
  readonly addresses: readonly LookupAddress[];
}

/** Latchkey does not send to this URL. The message completes a sentence that begins with the URL. */
export class TargetRefused extends Error {
  constructor(
    readonly reason: 'name_not_resolved' | 'address_not_allowed',
    message: string,
  ) {
    super(message);
  }
}

/**
 * Resolves and checks the addresses of webhooks, so that nobody can make Latchkey send requests into internal networks
 * (server-side request forgery).
 *
 * Names are resolved by DNS queries, without `/etc/hosts` and search domains. The system's own lookup would block one
 * of the few threads that check passwords for as long as a name server does not answer.
 */
@Injectable()
export class TargetService {
  constructor(
    private readonly resolver: Resolver,
    private readonly config: Config,
  ) {}

  /**
   * Resolves the name of a URL and checks each of its addresses.
   *
   * @throws TargetRefused
   */
  async find(text: string): Promise<Target> {
    const url = URL.parse(text);
    if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      throw new TargetRefused('address_not_allowed', 'must be an https URL');
    }
    if (url.username !== '' || url.password !== '') {
      throw new TargetRefused('address_not_allowed', 'must not contain a username or password');
    }
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const found = isIP(host) === 0 ? await this.#resolve(host) : [host];
    if (!found.every((address) => this.#isAllowed(address))) {
      if (found.some(isSpecial)) {
        throw new TargetRefused(
          'address_not_allowed',
          'must not lead to a loopback, private or other special address, unless WEBHOOK_ALLOWED_NETWORKS contains it',
        );
      }
      if (url.protocol !== 'https:') throw new TargetRefused('address_not_allowed', 'must be an https URL');
      if (url.port !== '') throw new TargetRefused('address_not_allowed', 'must use port 443');
    }
    return { url, addresses: found.map((address) => ({ address, family: isIP(address) })) };
  }

  #isAllowed(address: string): boolean {
    return this.config.webhookAllowedNetworks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }

  async #resolve(name: string): Promise<string[]> {
    const answers = await Promise.allSettled([this.resolver.resolve4(name), this.resolver.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length === 0) throw new TargetRefused('name_not_resolved', 'must have a host name that DNS can resolve');
    return found;
  }
}
