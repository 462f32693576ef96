import { Injectable, Logger } from '@nestjs/common';
import { isInNetworks } from '../common/client-address.ts';
import { Clock } from '../common/clock.ts';
import { parseNetworks } from '../config/networks.ts';
import { type ChannelUser, ChannelUserService, type Credential } from '../channel-user/channel-user.service.ts';
import { CredentialService } from '../channel-user/credential.service.ts';
import { SignInError } from './auth.errors.ts';
import type { PresentedCredentials } from './token-request.ts';

/** A sign-in that may have a token. */
export interface SignIn {
  readonly channelUser: ChannelUser;
  readonly credential: Credential;
}

/** Whether an account may be used from an address; an unknown address only where every address is allowed. */
export function isAllowedAddress({ allowedIps }: ChannelUser, address: string | undefined): boolean {
  if (allowedIps.length === 0) return true;
  const networks = parseNetworks(allowedIps.join(','));
  return address !== undefined && networks !== undefined && isInNetworks(address, networks);
}

/** Decides about a username and password, for every endpoint that takes them. */
@Injectable()
export class SignInService {
  readonly #logger = new Logger(SignInService.name);

  constructor(
    private readonly channelUsers: ChannelUserService,
    private readonly credentials: CredentialService,
    private readonly clock: Clock,
  ) {}

  /**
   * The order is the contract's: what is not a match tells nothing else about the account.
   *
   * @param address where the request came from
   * @throws SignInError
   */
  async signIn({ username, password }: PresentedCredentials, address: string | undefined): Promise<SignIn> {
    const now = this.clock.now();
    const channelUser = await this.channelUsers.findForSignIn(username);
    const credential = channelUser && this.credentials.match(channelUser.credentials ?? [], password);
    if (!channelUser || credential?.revokedAt !== null || !isAllowedAddress(channelUser, address)) {
      throw new SignInError('invalid_credentials');
    }
    const status = channelUser.statusAt(now);
    if (status !== 'active') throw new SignInError(`account_${status}`);
    if (credential.isExpiredAt(now)) throw new SignInError('credential_expired');
    return { channelUser, credential };
  }

  /** Notes when the account and the credential were last used. A token is worth more than this note. */
  async noteUse({ channelUser, credential }: SignIn): Promise<void> {
    try {
      await this.credentials.noteUse(channelUser, credential);
    } catch (error) {
      this.#logger.warn(`The use of a credential was not noted: ${(error as Error).message}`);
    }
  }
}
