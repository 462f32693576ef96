import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomBytes, randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { UUID_PATTERN } from '../platform/common/uuid.ts';
import type { Actor, ActorType } from '../platform/common/principal.ts';
import { withoutKeys } from '../platform/common/service-account-key.ts';
import { RESOURCE_TYPE } from '../platform/api/security.ts';
import { DecryptionError, EncryptionService, seal } from '../platform/encryption/encryption.service.ts';
import { reencryptColumn } from '../platform/encryption/reencryption.ts';
import { AuditChain, type UnlinkedEvent } from './chain/audit-chain.service.ts';
import { AuditEvent, type CoreTargetType } from './chain/audit-event.entity.ts';
import type { Link } from './chain/chain-link.ts';
import { SubjectStillActiveError, UnknownSubjectError, UnreadableKeyError } from './audit.errors.ts';
import { PersonalKey } from './chain/personal-key.entity.ts';
import {
  actorContext,
  type ActorPersonal,
  ERASED,
  ERASURE,
  keyContext,
  type PersonalKeys,
  personalKeys,
  targetContext,
  type TargetPersonal,
} from './chain/personal-part.ts';

/** Field → [before, after], as JSON values. */
export type Changes = Record<string, [before: unknown, after: unknown]>;

export interface AuditRecord {
  actor: Actor;
  /** `noun.past-participle`, as in `channel-user.suspended`. */
  action: string;
  /** For a module's resource: the `type` that its `@Granted()` names, and its `id`, a UUID. */
  target: { type: CoreTargetType | (string & {}); id: string; name: string };
  changes?: Changes;
  reason?: string | undefined;
}

/**
 * Throws unless a staff member or service account may still act. It must keep the rows that it reads locked until the
 * transaction ends.
 *
 * @param manager of the transaction that makes the change
 */
export type ActorCheck = (manager: EntityManager, actor: Actor) => Promise<void>;

/** Tells whether a subject's account still exists. */
export type AccountCheck = (manager: EntityManager, subjectId: string) => Promise<boolean>;

/** An event that is recorded but not written yet, with its parts as JSON. */
interface Draft extends Pick<AuditRecord, 'actor' | 'action' | 'target'> {
  readonly actorPersonal: string;
  readonly targetPersonal: string;
  readonly changes: string;
}

/** The events that a running transaction has recorded, and the sessions and keys that it has confirmed. */
interface Pending {
  readonly drafts: Draft[];
  readonly sessions: Set<string>;
}

/** Fields whose changes are recorded with masked values. */
const SECRET_FIELDS = new Set(['password', 'secret', 'passwordHash', 'secretHash', 'token']);
/** The form of an action, `noun.past-participle`. */
const ACTION = /^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/;
const MASKED = '[masked]';
/**
 * The differences between two states of the same resource.
 *
 * @returns only the fields that differ, compared as JSON
 */
export function changesBetween(before: Record<string, unknown>, after: Record<string, unknown>): Changes {
  return Object.fromEntries(
    Object.keys({ ...before, ...after })
      .filter((field) => JSON.stringify(before[field] ?? null) !== JSON.stringify(after[field] ?? null))
      .map((field) => [field, [before[field] ?? null, after[field] ?? null]]),
  );
}

@Injectable()
export class AuditService {
  readonly #logger = new Logger(AuditService.name);
  /** The recorded events of each running transaction. */
  readonly #pending = new WeakMap<EntityManager, Pending>();
  readonly #actorChecks = new Map<ActorType, ActorCheck>();
  readonly #accountChecks: AccountCheck[] = [];
  readonly #personalFields = new Set<string>();

  constructor(
    @InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>,
    @InjectRepository(PersonalKey) private readonly keys: Repository<PersonalKey>,
    private readonly encryption: EncryptionService,
    private readonly chain: AuditChain,
  ) {}

  /** The number of events that this instance wrote, and the last place in the chain that it knows. */
  get stats(): { readonly events: number; readonly sequence: number | undefined } {
    return this.chain.stats;
  }

  /** Registers the check of whether actors of a type may act. Their module calls it, since this one cannot import it. */
  checkActorsWith(type: 'staff' | 'service-account', check: ActorCheck): void {
    this.#actorChecks.set(type, check);
  }

  /** Registers a kind of account, whose personal key is kept while the account exists. */
  keepAccountsOf(check: AccountCheck): void {
    this.#accountChecks.push(check);
  }

  /** Registers fields that hold names, addresses or free text. Their values are encrypted under the target's key. */
  encryptFields(names: readonly string[]): void {
    for (const name of names) this.#personalFields.add(name);
  }

  /**
   * Runs `work` and appends the events of {@link record} to the trail as the last statement before the commit. Rolls
   * back if the events cannot be written, or if the actor was removed, demoted, suspended or signed out meanwhile.
   */
  async transaction<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    // If the chain has not begun, append() fails. A transaction without events does not need the chain.
    await this.chain.begun().catch(() => undefined);
    let count = 0;
    let last: Link | undefined;
    const result = await this.events.manager.transaction(async (manager) => {
      const drafts: Draft[] = [];
      this.#pending.set(manager, { drafts, sessions: new Set() });
      try {
        const done = await work(manager);
        for (const { actor } of drafts) await this.confirm(manager, actor);
        if (drafts.length > 0) last = await this.chain.append(manager, await this.#sealed(manager, drafts));
        count = drafts.length;
        return done;
      } finally {
        this.#pending.delete(manager);
      }
    });
    if (last) this.chain.appended(count, last);
    return result;
  }

  /**
   * Confirms that an actor may act until the transaction ends. {@link transaction} confirms the actor of every event. A
   * change that may end the actor's own session must call this before it ends the session.
   *
   * @param manager that {@link transaction} passed to `work`
   * @throws AppError 401
   */
  async confirm(manager: EntityManager, actor: Actor): Promise<void> {
    if (actor.type !== 'staff' && actor.type !== 'service-account') return;
    const sessions = this.#pending.get(manager)?.sessions;
    const check = this.#actorChecks.get(actor.type);
    if (!check || !sessions || !actor.session) throw new Error(`Nothing tells whether ${actor.type} may act`);
    if (sessions.has(actor.session.id)) return;
    await check(manager, actor);
    sessions.add(actor.session.id);
  }

  /**
   * Records an event, which {@link transaction} writes before it commits.
   *
   * @param manager that {@link transaction} passed to `work`, while `work` runs; any other throws
   */
  record(manager: EntityManager, { actor, action, target, changes = {}, reason }: AuditRecord): void {
    const drafts = this.#pending.get(manager)?.drafts;
    if (!drafts) throw new Error(`"${action}" was recorded outside of AuditService.transaction()`);
    if (!ACTION.test(action) || !RESOURCE_TYPE.test(target.type) || !UUID_PATTERN.test(target.id)) {
      throw new Error(`"${action}" of ${target.type} "${target.id}" is no event of the trail`);
    }
    const open: Changes = {};
    const personal: TargetPersonal = { name: target.name, reason: reason ?? null, changes: {} };
    for (const [field, [before, after]] of Object.entries(changes)) {
      if (SECRET_FIELDS.has(field)) open[field] = [before === null ? null : MASKED, after === null ? null : MASKED];
      else (this.#personalFields.has(field) ? personal.changes : open)[field] = [before, after];
    }
    if (actor.id === null && actor.address !== null) personal.address = actor.address;
    const actorPersonal: ActorPersonal = { name: actor.name, address: actor.address };
    // Serialized at once, so that the event keeps these values if the caller changes the objects later. A field may
    // contain a key that somebody pasted.
    drafts.push({
      actor,
      action,
      target,
      actorPersonal: withoutKeys(JSON.stringify(actorPersonal)),
      targetPersonal: withoutKeys(JSON.stringify(personal)),
      changes: withoutKeys(JSON.stringify(open)),
    });
  }

  /**
   * Re-encrypts the personal keys and the chain's key under the newest key encryption key, in steps that can be
   * interrupted.
   *
   * @returns how many keys were under another key encryption key
   */
  async reencrypt(): Promise<number> {
    const chainKeys = (await this.chain.reencrypt()) ? 1 : 0;
    const personalKeys = await reencryptColumn(
      this.keys.manager,
      { table: 'personal_key', id: 'subject_id', column: 'wrapped_key' },
      (subjectId, wrappedKey) => this.#renewed(subjectId, wrappedKey),
    );
    return chainKeys + personalKeys;
  }

  /**
   * Deletes the key of a person or partner, so that nobody can read what the trail says about them. The events stay,
   * and the chain stays intact, because its MACs cover the encrypted parts.
   *
   * @throws UnknownSubjectError, SubjectStillActiveError
   */
  async erase(subjectId: string, reason: string | undefined, actor: Actor): Promise<void> {
    await this.transaction(async (manager) => {
      for (const exists of this.#accountChecks) {
        if (await exists(manager, subjectId)) throw new SubjectStillActiveError();
      }
      const { affected } = await manager.delete(PersonalKey, { subjectId });
      if (affected !== 1) throw new UnknownSubjectError();
      const known = await manager.findOne(AuditEvent, { where: { targetId: subjectId }, order: { seq: 'DESC' } });
      // A subject that was never a target is staff. The new event creates a new key, which opens no older part.
      const target = { type: known?.targetType ?? 'staff', id: subjectId, name: ERASED };
      this.record(manager, { actor, action: ERASURE, target, reason });
    });
  }

  async #sealed(manager: EntityManager, drafts: Draft[]): Promise<UnlinkedEvent[]> {
    const subjects = drafts.flatMap(({ actor, target }) => (actor.id === null ? [target.id] : [actor.id, target.id]));
    const keys = await this.#keysFor(manager, [...new Set(subjects)]);
    return drafts.map(({ actor, action, target, ...texts }) => {
      const id = randomUUID();
      const actorKey = actor.id === null ? undefined : keys.get(actor.id);
      const targetKey = keys.get(target.id);
      if (!targetKey || (actor.id !== null && !actorKey)) throw new Error('A personal key has gone');
      return {
        id,
        actorType: actor.type,
        actorId: actor.id,
        actorPersonal: actorKey ? seal(actorKey, Buffer.from(texts.actorPersonal), actorContext(id)) : null,
        action,
        targetType: target.type,
        targetId: target.id,
        targetPersonal: seal(targetKey, Buffer.from(texts.targetPersonal), targetContext(id)),
        changes: texts.changes,
        requestId: actor.requestId,
      };
    });
  }

  /**
   * Creates missing keys in the order of their ids, so that two transactions that need the same keys cannot deadlock.
   *
   * @throws UnreadableKeyError
   */
  async #keysFor(manager: EntityManager, subjects: string[]): Promise<PersonalKeys> {
    const keys = await personalKeys(manager, this.encryption, subjects);
    for (const [subject, key] of keys) if (!key) throw new UnreadableKeyError(subject);
    const missing = subjects.filter((subject) => !keys.has(subject)).sort();
    if (missing.length === 0) return keys;
    await manager
      .createQueryBuilder()
      .insert()
      .into(PersonalKey)
      .values(
        missing.map((subjectId) => ({
          subjectId,
          wrappedKey: this.encryption.encrypt(randomBytes(32), keyContext(subjectId)),
        })),
      )
      .orIgnore()
      .execute();
    return personalKeys(manager, this.encryption, subjects);
  }

  /** Skips a damaged key, so that the others still move to the newest key encryption key. */
  #renewed(subjectId: string, wrappedKey: Buffer): Buffer | undefined {
    try {
      return this.encryption.renewed(wrappedKey, keyContext(subjectId));
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      this.#logger.warn(`The key of the audit trail for ${subjectId} was left as it is: ${error.message}`);
      return undefined;
    }
  }
}
