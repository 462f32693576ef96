import { Injectable, type OnModuleInit } from '@nestjs/common';
import { type EntityManager, In } from 'typeorm';
import { AuditService, type Changes } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { type Actor, SYSTEM } from '../../platform/common/principal.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import type { SigningKeyDto } from './signing-key.dto.ts';
import {
  SIGNING_KEY_PURPOSES,
  SigningKey,
  type SigningKeyPurpose,
  type SigningKeyState,
  VERIFYING_STATES,
} from './signing-key.entity.ts';
import { SigningKeyNotFoundError, StandbyTooNewError } from './signing-key.errors.ts';
import { JWKS_MAX_AGE_S, SigningKeyService, toDto } from './signing-key.service.ts';

const MAINTENANCE_MS = 60_000;
/** Milliseconds: the longest life of a token, plus a minute for clocks that differ. */
const LONGEST_TOKEN_MS = 86_400_000 + 60_000;

/**
 * Decides which key signs. A key is published before it signs, signs until the next one replaces it, and verifies until
 * the last token that it signed has expired. One standby is always published, so that verifiers know it in advance.
 */
@Injectable()
export class KeyRotationService implements OnModuleInit {
  constructor(
    private readonly keys: SigningKeyService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  async onModuleInit(): Promise<void> {
    // Comes first, so that a wrong key encryption key stops the start before new keys are made.
    await this.keys.refresh();
    await this.keys.change((manager) => this.#complete(manager));
    await this.keys.refresh();
    this.scheduler.schedule({
      name: 'Maintaining the signing keys',
      everyMs: MAINTENANCE_MS,
      run: () => this.maintain(),
    });
  }

  /**
   * Makes the standby the signing key, and creates a new standby. Tokens of the old key stay valid.
   *
   * @param reason for the audit trail
   * @param options `emergency` rotates even if verifiers may not have fetched the standby yet
   * @throws StandbyTooNewError
   */
  async rotate(
    purpose: SigningKeyPurpose,
    reason: string | undefined,
    actor: Actor,
    { emergency = false }: { emergency?: boolean } = {},
  ): Promise<void> {
    await this.keys.change(async (manager) => {
      await this.#complete(manager);
      // Staff keys are not in the JWKS, so no verifier has to fetch them first.
      if (purpose === 'partner' && !emergency) await this.#requireKnownStandby(manager);
      await this.#rotate(manager, purpose, actor, { reason, emergency });
    });
  }

  /**
   * Refuses every token of a key from now on. If the key was signing, the standby takes over. Revoking twice changes
   * nothing.
   *
   * @throws SigningKeyNotFoundError
   */
  async revoke(kid: string, reason: string | undefined, actor: Actor): Promise<SigningKeyDto> {
    return this.keys.change(async (manager) => {
      const key = await manager.findOneBy(SigningKey, { kid });
      if (!key) throw new SigningKeyNotFoundError();
      if (key.state === 'revoked') return toDto(key);
      const before = key.state;
      key.state = 'revoked';
      key.revokedAt = new Date(this.clock.now());
      await manager.update(SigningKey, { kid }, { state: key.state, revokedAt: key.revokedAt });
      if (before === 'active') await this.#promote(manager, key.purpose, actor);
      await this.#complete(manager);
      this.#record(manager, 'signing-key.revoked', key, actor, { state: [before, 'revoked'] }, reason);
      return toDto(key);
    });
  }

  /**
   * Refuses every token ever issued, of partners and of staff, and makes new keys. A database that was restored to an
   * earlier time needs this, because it has lost revocations and would accept revoked tokens again.
   *
   * @returns how many keys were revoked
   */
  async revokeAll(reason: string | undefined, actor: Actor): Promise<number> {
    return this.keys.change(async (manager) => {
      const keys = await manager.findBy(SigningKey, { state: In(VERIFYING_STATES) });
      const revokedAt = new Date(this.clock.now());
      // The standby is revoked too, since it may have signed tokens after the time that was restored.
      for (const key of keys) {
        await manager.update(SigningKey, { kid: key.kid }, { state: 'revoked', revokedAt });
        this.#record(manager, 'signing-key.revoked', key, actor, { state: [key.state, 'revoked'] }, reason);
      }
      await this.#complete(manager);
      return keys.length;
    });
  }

  /**
   * Rotates keys that are old enough, retires keys whose last token has expired, and makes missing standbys. A lock
   * lets one instance at a time do this.
   */
  async maintain(): Promise<void> {
    const due = await this.keys.list();
    const now = this.clock.now();
    const isRotationDue = due.nextRotationAt !== null && due.nextRotationAt.getTime() <= now;
    const isRetirementDue = due.items.some(
      ({ state, verifiesUntil }) => state === 'retiring' && (verifiesUntil?.getTime() ?? 0) <= now,
    );
    const needsStandby = SIGNING_KEY_PURPOSES.some(
      (purpose) => !due.items.some((key) => key.purpose === purpose && key.state === 'published'),
    );
    if (!isRotationDue && !isRetirementDue && !needsStandby) return;
    await this.keys.change(async (manager) => {
      await this.#complete(manager);
      const keys = await manager.findBy(SigningKey, { state: In(VERIFYING_STATES) });
      for (const key of keys) {
        if (key.state !== 'retiring' || (key.verifiesUntil?.getTime() ?? 0) > now) continue;
        await manager.update(SigningKey, { kid: key.kid }, { state: 'retired' });
        this.#record(manager, 'signing-key.retired', key, SYSTEM, { state: ['retiring', 'retired'] });
      }
      for (const purpose of SIGNING_KEY_PURPOSES) {
        const of = (state: SigningKeyState): SigningKey | undefined =>
          keys.find((key) => key.purpose === purpose && key.state === state);
        // Checked again under the lock: another instance may have rotated in the meantime.
        const next = this.keys.nextRotation(of('active'), of('published'));
        if (next !== null && next.getTime() <= now) await this.#rotate(manager, purpose, SYSTEM);
      }
    });
  }

  /** Makes the missing keys, so that each purpose has a signing key and a standby. */
  async #complete(manager: EntityManager): Promise<void> {
    const keys = await manager.findBy(SigningKey, { state: In(['active', 'published']) });
    const now = new Date(this.clock.now());
    for (const purpose of SIGNING_KEY_PURPOSES) {
      for (const state of ['active', 'published'] as const) {
        if (!keys.some((key) => key.purpose === purpose && key.state === state)) {
          await this.keys.create(manager, purpose, state, now);
        }
      }
    }
  }

  /** @throws StandbyTooNewError when a verifier may have cached a JWKS without the standby */
  async #requireKnownStandby(manager: EntityManager): Promise<void> {
    const active = await manager.findOneByOrFail(SigningKey, { purpose: 'partner', state: 'active' });
    const standby = await manager.findOneByOrFail(SigningKey, { purpose: 'partner', state: 'published' });
    // The first two keys are made together, so every JWKS that has one of them has both.
    if (standby.createdAt.getTime() === active.createdAt.getTime()) return;
    const knownFrom = standby.createdAt.getTime() + JWKS_MAX_AGE_S * 1_000;
    if (knownFrom > this.clock.now()) throw new StandbyTooNewError(new Date(knownFrom));
  }

  async #rotate(
    manager: EntityManager,
    purpose: SigningKeyPurpose,
    actor: Actor,
    { reason, emergency = false }: { reason?: string | undefined; emergency?: boolean } = {},
  ): Promise<void> {
    const active = await manager.findOneByOrFail(SigningKey, { purpose, state: 'active' });
    const verifiesUntil = new Date(this.clock.now() + LONGEST_TOKEN_MS);
    await manager.update(SigningKey, { kid: active.kid }, { state: 'retiring', verifiesUntil });
    const changes: Changes = { state: ['active', 'retiring'], ...(emergency && { emergency: [null, true] }) };
    this.#record(manager, 'signing-key.retiring', active, actor, changes, reason);
    await this.#promote(manager, purpose, actor);
    await this.#complete(manager);
  }

  /** Makes the standby the signing key. */
  async #promote(manager: EntityManager, purpose: SigningKeyPurpose, actor: Actor): Promise<void> {
    const standby = await manager.findOneBy(SigningKey, { purpose, state: 'published' });
    // Without a standby, #complete() makes the signing key.
    if (!standby) return;
    const activatedAt = new Date(this.clock.now());
    await manager.update(SigningKey, { kid: standby.kid }, { state: 'active', activatedAt });
    this.#record(manager, 'signing-key.activated', standby, actor, { state: ['published', 'active'] });
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, kid }: SigningKey,
    actor: Actor,
    changes: Changes,
    reason?: string,
  ): void {
    const target = { type: 'signing-key', id, name: kid } as const;
    this.audit.record(manager, { actor, action, target, reason, changes });
  }
}
