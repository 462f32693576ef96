import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Account, AccountCredential } from '../../channel-user/account/account.rules.ts';
import type { CredentialStatus } from '../../channel-user/model/credential.entity.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { SignInErrorCode } from './sign-in.errors.ts';
import { SignInService, type Verdict } from './sign-in.service.ts';

/** What a password has to prove. */
interface Proof {
  /** Whether the state of a credential whose password matches makes it a proof. */
  readonly isProof: (credential: AccountCredential, status: CredentialStatus) => boolean;
  /** The code that the client is told instead of that of a sign-in. */
  readonly codeOf: (code: SignInErrorCode) => string;
}

/** Checks passwords with which the holder of a token proves to be the partner, for what a token alone must not do. */
@Injectable()
export class PasswordProofService {
  constructor(
    private readonly signIns: SignInService,
    private readonly clock: Clock,
  ) {}

  /**
   * Checks a password like that of a sign-in: with the same counters, delay and queue, and with a record of a refusal in
   * the activity. It is not a use of the password.
   *
   * @param caller whose token the request carries; a password of another account is wrong
   * @returns the credential that the password belongs to
   * @throws SignInError
   */
  async prove(
    password: string,
    caller: { readonly id: string; readonly username: string },
    request: FastifyRequest,
    { isProof, codeOf }: Proof,
  ): Promise<AccountCredential> {
    const amend = (verdict: Verdict, account: Account): Verdict => {
      if (account.id !== caller.id) return { kind: 'mismatch', credential: undefined, reason: 'wrong_password' };
      const isExpired = verdict.kind === 'refused' && verdict.code === 'credential_expired';
      if (verdict.kind !== 'ok' && !isExpired) return verdict;
      const { credential } = verdict;
      return isProof(credential, credential.statusAt(this.clock.now()))
        ? { kind: 'ok', credential }
        : { kind: 'mismatch', credential, reason: 'no_proof' };
    };
    const presented = { username: caller.username, password };
    const { credential } = await this.signIns.authenticate(presented, request, { amend, codeOf });
    return credential;
  }
}
