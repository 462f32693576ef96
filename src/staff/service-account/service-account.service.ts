import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { type EntityManager, In, IsNull, MoreThan, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../../audit/audit.service.ts';
import { StarterNames } from '../../channel-user/credential/starter-names.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { uniqueViolation } from '../../platform/common/postgres-errors.ts';
import type { Actor } from '../../platform/common/principal.ts';
import {
  changeServiceAccount,
  nameKeyOf,
  recordServiceAccount,
  type ServiceAccountRef,
} from './service-account-change.ts';
import type {
  CreateServiceAccountRequest,
  NewServiceAccountDto,
  RotateServiceAccountRequest,
  ServiceAccountDto,
  ServiceAccountKeyDto,
  UpdateServiceAccountRequest,
} from './service-account.dto.ts';
import { ServiceAccount } from './service-account.entity.ts';
import { NameTakenError, ServiceAccountNotFoundError, ServiceAccountRevokedError } from './service-account.errors.ts';
import { PENDING_KEY_DAYS, ServiceAccountKey } from './service-account-key.entity.ts';
import { ServiceAccountKeyService } from './service-account-key.service.ts';
import { ServiceAccountUseService } from './service-account-use.service.ts';

const PENDING_MS = PENDING_KEY_DAYS * 86_400_000;

type Fields = Pick<ServiceAccount, 'name' | 'role' | 'expiresAt' | 'allowedIps'>;
/** The fields that admins may change, for the audit trail to compare. */
const fieldsOf = ({ name, role, expiresAt, allowedIps }: ServiceAccount): Fields => ({
  name,
  role,
  expiresAt,
  allowedIps,
});

const timeOf = (text: string | null): Date | null => (text === null ? null : new Date(text));

function toKeyDto(key: ServiceAccountKey): ServiceAccountKeyDto {
  const { id, pending, createdAt, expiresAt, retireSeconds, lastUsedAt, lastUsedAddress } = key;
  return {
    id,
    status: pending ? 'pending' : 'active',
    createdAt,
    expiresAt,
    pendingUntil: pending ? new Date(createdAt.getTime() + PENDING_MS) : null,
    retireOthers: pending && retireSeconds !== null ? { after: 'first-use', seconds: retireSeconds } : null,
    lastUsedAt,
    lastUsedAddress,
  };
}

/** The identities of scripts: created, changed, suspended and revoked by admins. */
@Injectable()
export class ServiceAccountService {
  constructor(
    @InjectRepository(ServiceAccount) private readonly accounts: Repository<ServiceAccount>,
    private readonly keys: ServiceAccountKeyService,
    private readonly uses: ServiceAccountUseService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    starterNames: StarterNames,
  ) {
    starterNames.register(async (manager, ids) => {
      const select = { id: true, name: true } as const;
      const found = await manager.find(ServiceAccount, { select, where: { id: In([...ids]) } });
      return new Map(found.map(({ id, name }) => [id, name]));
    });
    audit.encryptFields(['name']);
    audit.keepAccountsOf((manager, id) => manager.existsBy(ServiceAccount, { id }));
  }

  /** All service accounts, in order of name. */
  async list(): Promise<ServiceAccountDto[]> {
    await this.uses.settle();
    return this.#toDtos(this.accounts.manager, await this.accounts.find({ order: { nameKey: 'ASC' } }));
  }

  /** @throws ServiceAccountNotFoundError */
  async get(id: string): Promise<ServiceAccountDto> {
    await this.uses.settle();
    const account = await this.accounts.findOneBy({ id });
    if (!account) throw new ServiceAccountNotFoundError();
    return this.#toDto(this.accounts.manager, account);
  }

  /** Creates an account with a key, which the answer shows once. @throws NameTakenError */
  create(request: CreateServiceAccountRequest, actor: Actor): Promise<NewServiceAccountDto> {
    const { name, role, expiresAt = null, allowedIps = [] } = request;
    const account = this.accounts.create({
      id: randomUUID(),
      name,
      nameKey: nameKeyOf(name),
      role,
      allowedIps,
      createdAt: new Date(this.clock.now()),
      expiresAt: timeOf(expiresAt),
      suspendedAt: null,
      revokedAt: null,
      lastUsedAt: null,
      lastUsedAddress: null,
    });
    return this.#unlessNameTaken(
      this.audit.transaction(async (manager) => {
        await manager.insert(ServiceAccount, account);
        const { key, row } = await this.keys.insert(manager, account);
        const changes = changesBetween({}, { ...fieldsOf(account), keyId: row.id });
        this.#record(manager, 'created', account, actor, changes);
        return { ...(await this.#toDto(manager, account)), key };
      }),
    );
  }

  /**
   * Changes the fields that the request contains. They hold from the next request of the account.
   *
   * @throws ServiceAccountNotFoundError, ServiceAccountRevokedError, NameTakenError
   */
  update(id: string, request: UpdateServiceAccountRequest, actor: Actor): Promise<ServiceAccountDto> {
    const { expiresAt, ...others } = request;
    return this.#unlessNameTaken(
      this.#change({ id }, async (manager, account) => {
        const before = fieldsOf(account);
        Object.assign(account, others, expiresAt !== undefined && { expiresAt: timeOf(expiresAt) });
        const changes = changesBetween({ ...before }, { ...fieldsOf(account) });
        if (Object.keys(changes).length === 0) return;
        const nameKey = nameKeyOf(account.name);
        await manager.update(ServiceAccount, { id }, { ...fieldsOf(account), nameKey });
        this.#record(manager, 'updated', account, actor, changes);
      }),
    );
  }

  /** Refuses the keys until the account is reactivated. Suspending twice changes nothing. */
  suspend(id: string, reason: string, actor: Actor): Promise<ServiceAccountDto> {
    return this.#change({ id }, async (manager, account) => {
      if (account.suspendedAt === null) await this.#setSuspended(manager, account, 'suspended', actor, reason);
    });
  }

  /** Lets the keys of a suspended account work again. Reactivating twice changes nothing. */
  reactivate(id: string, reason: string | undefined, actor: Actor): Promise<ServiceAccountDto> {
    return this.#change({ id }, async (manager, account) => {
      if (account.suspendedAt !== null) await this.#setSuspended(manager, account, 'reactivated', actor, reason);
    });
  }

  /**
   * Ends all keys for good. The account stays in the list until it is deleted. Revoking twice changes nothing.
   *
   * @throws ServiceAccountNotFoundError
   */
  async revoke(of: ServiceAccountRef, reason: string | undefined, actor: Actor): Promise<ServiceAccountDto> {
    return changeServiceAccount(this.audit, of, async (manager, account) => {
      if (account.revokedAt === null) {
        const now = this.clock.now();
        const before = account.statusAt(now);
        const revokedAt = new Date(now);
        await manager.update(ServiceAccount, { id: account.id }, { revokedAt });
        await manager.update(ServiceAccountKey, { serviceAccountId: account.id, revokedAt: IsNull() }, { revokedAt });
        account.revokedAt = revokedAt;
        this.#record(manager, 'revoked', account, actor, { status: [before, 'revoked'] }, reason);
      }
      return this.#toDto(manager, account);
    });
  }

  /** Deletes an account with its keys. Its audit trail stays. @throws ServiceAccountNotFoundError */
  delete(id: string, actor: Actor): Promise<void> {
    return changeServiceAccount(this.audit, { id }, async (manager, account) => {
      await manager.delete(ServiceAccount, { id });
      this.#record(manager, 'deleted', account, actor, changesBetween({ ...fieldsOf(account) }, {}));
    });
  }

  /** Adds a key, which the answer shows once, see {@link ServiceAccountKeyService.rotate}. */
  rotate(id: string, request: RotateServiceAccountRequest, actor: Actor): Promise<NewServiceAccountDto> {
    return this.keys.rotate(id, request, actor, (manager, account) => this.#toDto(manager, account));
  }

  /** Ends a pending key, see {@link ServiceAccountKeyService.withdraw}. */
  async withdrawKey(id: string, keyId: string, actor: Actor): Promise<ServiceAccountDto> {
    await this.keys.withdraw(id, keyId, actor);
    return this.get(id);
  }

  /** @throws ServiceAccountNotFoundError, ServiceAccountRevokedError */
  #change(
    of: ServiceAccountRef,
    work: (manager: EntityManager, account: ServiceAccount) => Promise<void>,
  ): Promise<ServiceAccountDto> {
    return changeServiceAccount(this.audit, of, async (manager, account) => {
      if (account.revokedAt !== null) throw new ServiceAccountRevokedError();
      await work(manager, account);
      return this.#toDto(manager, account);
    });
  }

  async #setSuspended(
    manager: EntityManager,
    account: ServiceAccount,
    what: 'suspended' | 'reactivated',
    actor: Actor,
    reason: string | undefined,
  ): Promise<void> {
    const now = this.clock.now();
    const before = account.statusAt(now);
    account.suspendedAt = what === 'suspended' ? new Date(now) : null;
    await manager.update(ServiceAccount, { id: account.id }, { suspendedAt: account.suspendedAt });
    this.#record(manager, what, account, actor, { status: [before, account.statusAt(now)] }, reason);
  }

  async #toDto(manager: EntityManager, account: ServiceAccount): Promise<ServiceAccountDto> {
    const [dto] = await this.#toDtos(manager, [account]);
    if (!dto) throw new ServiceAccountNotFoundError();
    return dto;
  }

  /** The accounts in the form of the API, with the keys that work. */
  async #toDtos(manager: EntityManager, accounts: readonly ServiceAccount[]): Promise<ServiceAccountDto[]> {
    const now = this.clock.now();
    const live = { serviceAccountId: In(accounts.map(({ id }) => id)), revokedAt: IsNull() };
    const keys = await manager.find(ServiceAccountKey, {
      where: [
        { ...live, expiresAt: IsNull() },
        { ...live, expiresAt: MoreThan(new Date(now)) },
      ],
      order: { createdAt: 'DESC', id: 'DESC' },
    });
    const keysOf = Map.groupBy(keys, ({ serviceAccountId }) => serviceAccountId);
    return accounts.map((account) => {
      const { id, name, role, allowedIps, createdAt, expiresAt, lastUsedAt, lastUsedAddress } = account;
      return {
        id,
        name,
        role,
        status: account.statusAt(now),
        allowedIps,
        createdAt,
        expiresAt,
        lastUsedAt,
        lastUsedAddress,
        keys: (keysOf.get(id) ?? []).map(toKeyDto),
      };
    });
  }

  /** @throws NameTakenError */
  async #unlessNameTaken<T>(change: Promise<T>): Promise<T> {
    try {
      return await change;
    } catch (error) {
      throw uniqueViolation(error) === 'uq_service_account_name' ? new NameTakenError(error) : error;
    }
  }

  #record(
    manager: EntityManager,
    what: string,
    account: ServiceAccount,
    actor: Actor,
    changes: Changes,
    reason?: string,
  ): void {
    recordServiceAccount(this.audit, manager, `service-account.${what}`, account, actor, { changes, reason });
  }
}
