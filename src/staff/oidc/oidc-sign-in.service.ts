import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { uniqueViolation } from '../../platform/common/postgres-errors.ts';
import { type Actor, type Role, SYSTEM } from '../../platform/common/principal.ts';
import { type Session, SessionOpener } from '../session-opener.service.ts';
import { generateStaffPassword, hashPassword } from '../staff-password.ts';
import { StaffSession } from '../staff-session.entity.ts';
import { NO_SECOND_FACTOR, Staff } from '../staff.entity.ts';
import { emailKeyOf } from '../staff-lock.service.ts';
import { emailOf, groupsOf, nameOf, roleOf } from './claims.ts';
import { IdentityProviderService, type ProviderSignIn } from './identity-provider.service.ts';
import { IdTokenService } from './id-token.service.ts';
import { EmailInUseError, GroupsUnknownError, NoEmailError, NoMappedGroupError } from './oidc.errors.ts';

/** What the provider says about a person who may sign in. */
interface Person extends ProviderSignIn {
  readonly email: string;
  readonly name: string;
  readonly role: Role;
}

const callerOf = ({ id, clientAddress }: FastifyRequest): Actor => ({
  ...SYSTEM,
  address: clientAddress ?? null,
  requestId: id,
});

/** Opens sessions for people who signed in at the identity provider, and keeps their accounts as the provider has them. */
@Injectable()
export class OidcSignInService {
  readonly #logger = new Logger(OidcSignInService.name);

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly provider: IdentityProviderService,
    private readonly opener: SessionOpener,
    private readonly idTokens: IdTokenService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /**
   * Signs a person in, and creates the account at the first sign-in.
   *
   * @throws GroupsUnknownError, NoMappedGroupError, NoEmailError, EmailInUseError
   */
  async signIn(signIn: ProviderSignIn, request: FastifyRequest): Promise<Session> {
    const role = await this.#roleOf(signIn, request);
    const { issuer, subject, claims } = signIn;
    const email = emailOf(claims);
    if (email === undefined) throw this.#refused(new NoEmailError(this.provider.settings.name), subject);
    const person: Person = { ...signIn, role, email, name: nameOf(claims, email) };
    const known = await this.staff.findOneBy({ oidcIssuer: issuer, oidcSubject: subject });
    return (known && (await this.#signInAs(known.id, person, request))) ?? (await this.#create(person, request));
  }

  /** @throws GroupsUnknownError, NoMappedGroupError */
  async #roleOf({ issuer, subject, claims }: ProviderSignIn, request: FastifyRequest): Promise<Role> {
    const { name, groupsClaim, roles } = this.provider.settings;
    const groups = groupsOf(claims, groupsClaim);
    if (!groups) throw this.#refused(new GroupsUnknownError(name, groupsClaim), subject);
    const role = roleOf(groups, roles);
    if (role !== undefined) return role;
    await this.#endSessions(issuer, subject, request);
    throw this.#refused(new NoMappedGroupError(name), subject);
  }

  /** Ends the sessions of a person who, as the provider says, may no longer use Latchkey. */
  async #endSessions(oidcIssuer: string, oidcSubject: string, request: FastifyRequest): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const lock = { mode: 'pessimistic_write' } as const;
      const member = await manager.findOne(Staff, { where: { oidcIssuer, oidcSubject }, lock });
      if (!member) return;
      const { affected } = await manager.delete(StaffSession, { staffId: member.id });
      if (affected) this.#record(manager, 'staff.sessions-ended', member, callerOf(request), {});
    });
  }

  /** @returns nothing when the account was removed, or signs in otherwise, in the meantime */
  async #signInAs(id: string, person: Person, request: FastifyRequest): Promise<Session | null> {
    const signed = await this.opener.sign(id);
    return this.audit.transaction(async (manager) => {
      const { issuer: oidcIssuer, subject: oidcSubject } = person;
      const where = { id, oidcIssuer, oidcSubject };
      const member = await manager.findOne(Staff, { where, lock: { mode: 'pessimistic_write' } });
      if (!member) return null;
      await this.#update(manager, member, person, callerOf(request));
      return this.#open(manager, member, signed, person, request);
    });
  }

  /** Takes over role, name and e-mail from the provider. A new role ends the sessions of the old one. */
  async #update(manager: EntityManager, member: Staff, { role, name, email }: Person, actor: Actor): Promise<void> {
    const before = { role: member.role, name: member.name, email: member.email };
    const isTaken = email !== member.email && !(await this.#takeEmail(manager, member, email));
    const after = { role, name, email: isTaken ? member.email : email };
    const changes = changesBetween(before, after);
    if (Object.keys(changes).length === 0) return;
    if (changes['role']) await manager.delete(StaffSession, { staffId: member.id });
    await manager.update(Staff, { id: member.id }, { role, name });
    Object.assign(member, after, { emailKey: emailKeyOf(after.email) });
    this.#record(manager, 'staff.updated', member, actor, changes);
  }

  /** Changes an account's e-mail. @returns false, with nothing changed, when another account has that e-mail */
  async #takeEmail(manager: EntityManager, { id }: Staff, email: string): Promise<boolean> {
    try {
      // In a savepoint, since a failed statement would end the whole transaction.
      await manager.transaction((nested) => nested.update(Staff, { id }, { email, emailKey: emailKeyOf(email) }));
      return true;
    } catch (error) {
      if (uniqueViolation(error) !== 'uq_staff_email') throw error;
      return false;
    }
  }

  /** @throws EmailInUseError */
  async #create(person: Person, request: FastifyRequest): Promise<Session> {
    const { email, name, role, issuer, subject } = person;
    const member = this.staff.create({
      id: randomUUID(),
      email,
      emailKey: emailKeyOf(email),
      name,
      role,
      // A password that nobody knows, so that a sign-in with this e-mail takes as long as with any other.
      passwordHash: await hashPassword(generateStaffPassword()),
      oidcIssuer: issuer,
      oidcSubject: subject,
      breakGlass: false,
      createdAt: new Date(this.clock.now()),
      lastSignInAt: null,
      ...NO_SECOND_FACTOR,
    });
    const signed = await this.opener.sign(member.id);
    try {
      return await this.audit.transaction(async (manager) => {
        await manager.insert(Staff, member);
        const changes = changesBetween({}, { email, name, role, issuer, subject });
        this.#record(manager, 'staff.created', member, callerOf(request), changes);
        return this.#open(manager, member, signed, person, request);
      });
    } catch (error) {
      if (uniqueViolation(error) === undefined) throw error;
      // The same person may have signed in twice at once, and the other sign-in created the account.
      const known = await this.staff.findOneBy({ oidcIssuer: issuer, oidcSubject: subject });
      const session = known && (await this.#signInAs(known.id, person, request));
      if (session) return session;
      throw this.#refused(new EmailInUseError(this.provider.settings.name, subject, error), subject);
    }
  }

  async #open(
    manager: EntityManager,
    member: Staff,
    signed: Awaited<ReturnType<SessionOpener['sign']>>,
    { sid, idToken }: Person,
    request: FastifyRequest,
  ): Promise<Session> {
    member.lastSignInAt = new Date(this.clock.now());
    await manager.update(Staff, { id: member.id }, { lastSignInAt: member.lastSignInAt });
    const kind = { byCookie: true, oidcSid: sid, idToken: (id: string) => this.idTokens.seal(id, idToken) };
    return this.opener.open(manager, member, signed, kind, request);
  }

  /** Logs which identity was refused, since an admin may have to attach it. */
  #refused<E extends Error>(error: E & { code: string }, subject: string): E {
    this.#logger.warn(`A sign-in at the identity provider was refused: ${error.code}, sub ${JSON.stringify(subject)}`);
    return error;
  }

  #record(manager: EntityManager, action: string, { id, name }: Staff, actor: Actor, changes: Changes): void {
    this.audit.record(manager, { actor, action, target: { type: 'staff', id, name }, changes });
  }
}
