import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { AccountCredential } from '../../channel-user/account/account.rules.ts';
import { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import type { CredentialDto } from '../../channel-user/credential/credential.dto.ts';
import { NotPendingError } from '../../channel-user/credential/credential.errors.ts';
import { CredentialService } from '../../channel-user/credential/credential.service.ts';
import { CredentialEndService } from '../../channel-user/credential/credential-end.service.ts';
import type { Permit } from '../../channel-user/credential/rotation.service.ts';
import type { HandoverDto } from '../../channel-user/handover/handover.dto.ts';
import { HandoverService } from '../../channel-user/handover/handover.service.ts';
import type { ChannelUser } from '../../channel-user/model/channel-user.entity.ts';
import type { Credential, CredentialStatus } from '../../channel-user/model/credential.entity.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { Actor, CurrentChannelUser } from '../../platform/common/principal.ts';
import { InvalidTokenError } from '../access-token/access-token.errors.ts';
import { PasswordProofService } from '../sign-in/password-proof.service.ts';
import { SignInError, type SignInErrorCode } from '../sign-in/sign-in.errors.ts';
import {
  type CreateOwnCredentialRequest,
  DEFAULT_OVERLAP_SECONDS,
  type EndOwnCredentialRequest,
  type IssuedOwnCredentialDto,
  type OwnCredentialDto,
  type WithdrawOwnCredentialRequest,
} from './own-credential.dto.ts';
import {
  LastActiveCredentialError,
  problemOf,
  RotationByStaffError,
  SelfServiceOffError,
  WrongPasswordError,
} from './own-credential.errors.ts';

/** A password that proves who the caller is. */
interface Proof {
  /** Completes "The password is not …". */
  readonly expected: string;
  readonly statuses: readonly CredentialStatus[];
  /** The only credential whose password proves it. */
  readonly id?: string;
}

const ACTIVE: Proof = { expected: 'an active password of this account', statuses: ['active'] };
const LIVE: Proof = { expected: 'a password of this account that works', statuses: ['active', 'pending'] };
/** An expired credential may be ended too, since the tokens it obtained outlive it. */
const passwordOf = (id: string): Proof => ({
  expected: 'the one that is to be ended',
  statuses: ['active', 'pending', 'expired'],
  id,
});

function actorOf({ id, username }: CurrentChannelUser, request: FastifyRequest): Actor {
  return {
    type: 'channel-user',
    id,
    name: username,
    address: request.clientAddress ?? null,
    requestId: request.id,
  };
}

/** A credential as its owner sees it. */
function toOwnDto(
  credential: CredentialDto,
  caller: CurrentChannelUser,
  links: readonly HandoverDto[] = [],
): OwnCredentialDto {
  const { id, status, startedBy } = credential;
  // Links are sorted by time, the newest first.
  const link = status === 'pending' ? links.find(({ credentialId }) => credentialId === id) : undefined;
  // Each field is named, so that a new one for staff does not reach partners by itself.
  return {
    id,
    label: credential.label,
    fingerprint: credential.fingerprint,
    status,
    current: id === caller.credential.id,
    createdAt: credential.createdAt,
    expiresAt: credential.expiresAt,
    revokedAt: credential.revokedAt,
    reportedLeakedAt: credential.reportedLeakedAt,
    startedBy: startedBy === null ? null : startedBy.type === 'service-account' ? 'staff' : startedBy.type,
    pendingSince: credential.pendingSince,
    pendingUntil: credential.pendingUntil,
    link: link ? { status: link.status, expiresAt: link.expiresAt, revealedAt: link.revealedAt } : null,
    retireOthers: credential.retireOthers,
    activatedAt: credential.activatedAt,
    lastUsedAt: credential.lastUsedAt,
    lastUsedAddress: credential.lastUsedAddress,
  };
}

/**
 * What a channel user does with its own passwords. A token reads; every change also needs a password, since a token may
 * have been stolen alone.
 */
@Injectable()
export class OwnCredentialService {
  constructor(
    private readonly credentials: CredentialService,
    private readonly ends: CredentialEndService,
    private readonly handovers: HandoverService,
    private readonly accounts: AccountCache,
    private readonly proofs: PasswordProofService,
    private readonly clock: Clock,
  ) {}

  /** Every credential there ever was, newest first, as staff see them. */
  async list(caller: CurrentChannelUser): Promise<OwnCredentialDto[]> {
    const [credentials, links] = await Promise.all([this.credentials.list(caller.id), this.handovers.list(caller.id)]);
    return credentials.map((credential) => toOwnDto(credential, caller, links));
  }

  /**
   * Begins a rotation.
   *
   * @throws SelfServiceOffError, WrongPasswordError, OwnRotationPendingError, TooManyCredentialsError, AppError 429
   */
  async create(
    caller: CurrentChannelUser,
    { password, label, overlapSeconds = DEFAULT_OVERLAP_SECONDS }: CreateOwnCredentialRequest,
    request: FastifyRequest,
  ): Promise<IssuedOwnCredentialDto> {
    // The refusal must not rest on the cached account.
    if (!caller.selfService && (await this.accounts.readById(caller.id))?.selfService !== true) {
      throw new SelfServiceOffError();
    }
    const { id: provedBy } = await this.#prove(ACTIVE, password, caller, request);
    const { credential } = await this.credentials.create(
      caller.id,
      { retireOthers: { after: 'first-use', seconds: overlapSeconds }, ...(label !== undefined && { label }) },
      actorOf(caller, request),
      {
        provedBy,
        permit: (channelUser, all) => {
          if (!channelUser.selfService) throw new SelfServiceOffError();
          this.#confirm(channelUser, all, provedBy, ACTIVE);
        },
      },
    );
    const { password: created, ...made } = credential;
    if (created === undefined) throw new Error('A new credential came without its password');
    return { credential: { ...toOwnDto(made, caller), password: created } };
  }

  /**
   * Withdraws a rotation that the channel user began itself.
   *
   * @throws CredentialNotFoundError, NotPendingError, RotationByStaffError, WrongPasswordError, AppError 429
   */
  async withdraw(
    caller: CurrentChannelUser,
    id: string,
    { password }: WithdrawOwnCredentialRequest,
    request: FastifyRequest,
  ): Promise<OwnCredentialDto> {
    const found = await this.credentials.get(caller.id, id);
    const status = found.statusAt(this.clock.now());
    if (status !== 'pending') throw new NotPendingError(status);
    if (found.begunBy !== 'account') throw new RotationByStaffError();
    const { id: provedBy } = await this.#prove(LIVE, password, caller, request);
    const withdrawn = await this.credentials.withdraw(caller.id, id, actorOf(caller, request), (channelUser, all) => {
      this.#confirm(channelUser, all, provedBy, LIVE);
    });
    return toOwnDto(withdrawn, caller);
  }

  /**
   * Ends a credential and the tokens that it obtained. Does nothing if it was revoked or withdrawn before, so that a
   * repeated request succeeds.
   *
   * @throws CredentialNotFoundError, RotationByStaffError, WrongPasswordError, LastActiveCredentialError, AppError 429
   */
  async end(
    caller: CurrentChannelUser,
    id: string,
    { password }: EndOwnCredentialRequest,
    request: FastifyRequest,
  ): Promise<void> {
    const found = await this.credentials.get(caller.id, id);
    if (found.revokedAt !== null) return;
    if (found.pending && found.begunBy !== 'account') throw new RotationByStaffError();
    const proof = passwordOf(id);
    await this.#prove(proof, password, caller, request);
    const permit: Permit = (channelUser, all) => {
      this.#confirm(channelUser, all, id, proof);
      const now = this.clock.now();
      const isLive = all.some((each) => each.id === id && each.isLiveAt(now));
      const othersAreActive = all.some((each) => each.id !== id && each.statusAt(now) === 'active');
      if (isLive && !othersAreActive) throw new LastActiveCredentialError();
    };
    await this.ends.revoke(caller.id, id, actorOf(caller, request), { permit });
  }

  async #prove(
    { expected, statuses, id }: Proof,
    password: string,
    caller: CurrentChannelUser,
    request: FastifyRequest,
  ): Promise<AccountCredential> {
    const isProof = (credential: AccountCredential, status: CredentialStatus): boolean =>
      statuses.includes(status) && (id === undefined || credential.id === id);
    const codeOf = (code: SignInErrorCode): string => problemOf(new SignInError(code), expected).code;
    try {
      return await this.proofs.prove(password, caller, request, { isProof, codeOf });
    } catch (error) {
      throw error instanceof SignInError ? problemOf(error, expected) : error;
    }
  }

  /** Looks again under the lock: the account or the password may have ended since it was checked. */
  #confirm(channelUser: ChannelUser, all: readonly Credential[], id: string, { expected, statuses }: Proof): void {
    const now = this.clock.now();
    if (channelUser.statusAt(now) !== 'active') throw new InvalidTokenError('The token is no longer valid.');
    const status = all.find((each) => each.id === id)?.statusAt(now);
    if (status === undefined || !statuses.includes(status)) throw new WrongPasswordError(expected);
  }
}
