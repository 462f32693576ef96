import { Injectable } from '@nestjs/common';
import type { LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Config } from '../config/config.ts';
import { isSpecial } from './special-address.ts';

/** Where a webhook's URL leads, as it was checked. */
interface Target {
  readonly url: URL;
  /** The only addresses to connect to. */
  readonly addresses: readonly LookupAddress[];
}

/** A URL that nothing is sent to. The message completes a sentence that begins with the URL. */
export class TargetRefused extends Error {
  constructor(
    readonly reason: 'name_not_resolved' | 'address_not_allowed',
    message: string,
  ) {
    super(message);
  }
}

/**
 * Finds out where webhooks lead, so that nobody sends Latchkey into its own network (server-side request forgery).
 *
 * Names are asked of DNS directly: the system's own lookup occupies one of the few threads that check passwords for as
 * long as a name server does not answer. `/etc/hosts` and search domains do not count.
 */
@Injectable()
export class TargetService {
  constructor(
    private readonly resolver: Resolver,
    private readonly config: Config,
  ) {}

  /**
   * Looks a URL's name up and checks every address it has.
   *
   * @throws TargetRefused
   */
  async find(text: string): Promise<Target> {
    const url = URL.parse(text);
    if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      throw new TargetRefused('address_not_allowed', 'must be an https URL');
    }
    if (url.username !== '' || url.password !== '') {
      throw new TargetRefused('address_not_allowed', 'must not carry a username or password');
    }
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const found = isIP(host) === 0 ? await this.#resolve(host) : [host];
    if (!found.every((address) => this.#isAllowed(address))) {
      if (found.some(isSpecial)) {
        throw new TargetRefused('address_not_allowed', 'must not lead to a loopback, private or other special address');
      }
      if (url.protocol !== 'https:') throw new TargetRefused('address_not_allowed', 'must be an https URL');
      if (url.port !== '') throw new TargetRefused('address_not_allowed', 'must not name a port other than 443');
    }
    return { url, addresses: found.map((address) => ({ address, family: isIP(address) })) };
  }

  #isAllowed(address: string): boolean {
    return this.config.webhookAllowedNetworks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }

  async #resolve(name: string): Promise<string[]> {
    const answers = await Promise.allSettled([this.resolver.resolve4(name), this.resolver.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length === 0) throw new TargetRefused('name_not_resolved', 'must have a name that DNS knows');
    return found;
  }
}
