import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, Repository } from 'typeorm';
import { AuditService, changesBetween } from '../audit/audit.service.ts';
import type { Actor } from '../platform/common/principal.ts';
import { Config } from '../platform/config/config.ts';
import type { SettingsDto, UpdateSettingsRequest } from './settings.dto.ts';
import { type LocalSignIn, Settings } from './settings.entity.ts';

/** A fixed UUID, since the audit trail identifies its targets by UUID and there is only one row of settings. */
const TARGET = { type: 'settings', id: '5e771265-0000-4000-8000-000000000001', name: 'settings' } as const;

const changeable = ({ secondFactorRequired, localSignIn }: Settings): Omit<SettingsDto, 'publicUrl'> => ({
  secondFactorRequired,
  localSignIn,
});

/** Throws unless an actor may restrict who signs in with a password. */
export type RestrictionCheck = (manager: EntityManager, actor: Actor) => Promise<void>;

@Injectable()
export class SettingsService {
  #checkRestriction: RestrictionCheck | undefined;

  constructor(
    @InjectRepository(Settings) private readonly settings: Repository<Settings>,
    private readonly audit: AuditService,
    private readonly config: Config,
  ) {}

  /** Reads the settings from the database each time, so that a change takes effect at once on every instance. */
  async get(): Promise<SettingsDto> {
    return this.#toDto(changeable(await this.settings.findOneByOrFail({ id: true })));
  }

  /** Registers the check of whether `localSignIn` may be restricted, which the feature of staff makes. */
  checkRestrictionsWith(check: RestrictionCheck): void {
    this.#checkRestriction = check;
  }

  /** Who may sign in with a password, as seen by a transaction. */
  async localSignIn(manager: EntityManager): Promise<LocalSignIn> {
    return (await manager.findOneByOrFail(Settings, { id: true })).localSignIn;
  }

  async update(request: UpdateSettingsRequest, actor: Actor): Promise<SettingsDto> {
    return this.audit.transaction(async (manager) => {
      const row = await manager.findOneOrFail(Settings, { where: { id: true }, lock: { mode: 'pessimistic_write' } });
      const before = changeable(row);
      const after = { ...before, ...request };
      const changes = changesBetween({ ...before }, after);
      if (Object.keys(changes).length === 0) return this.#toDto(before);
      if (changes['localSignIn'] && after.localSignIn === 'break-glass') await this.#checkRestriction?.(manager, actor);
      await manager.update(Settings, { id: true }, after);
      this.audit.record(manager, { actor, action: 'settings.changed', target: TARGET, changes });
      return this.#toDto(after);
    });
  }

  #toDto(settings: Omit<SettingsDto, 'publicUrl'>): SettingsDto {
    return { ...settings, publicUrl: this.config.publicUrl };
  }
}
