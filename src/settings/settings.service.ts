import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { AuditService, changesBetween } from '../audit/audit.service.ts';
import type { Actor } from '../platform/common/principal.ts';
import { Config } from '../platform/config/config.ts';
import type { SettingsDto, UpdateSettingsRequest } from './settings.dto.ts';
import { Settings } from './settings.entity.ts';

/** A fixed UUID, since the audit trail identifies its targets by UUID and there is only one row of settings. */
const TARGET = { type: 'settings', id: '5e771265-0000-4000-8000-000000000001', name: 'settings' } as const;

const changeable = ({ secondFactorRequired }: Settings): Omit<SettingsDto, 'publicUrl'> => ({ secondFactorRequired });

@Injectable()
export class SettingsService {
  constructor(
    @InjectRepository(Settings) private readonly settings: Repository<Settings>,
    private readonly audit: AuditService,
    private readonly config: Config,
  ) {}

  /** Reads the settings from the database each time, so that a change takes effect at once on every instance. */
  async get(): Promise<SettingsDto> {
    return this.#toDto(await this.settings.findOneByOrFail({ id: true }));
  }

  async update(request: UpdateSettingsRequest, actor: Actor): Promise<SettingsDto> {
    return this.audit.transaction(async (manager) => {
      const row = await manager.findOneOrFail(Settings, { where: { id: true }, lock: { mode: 'pessimistic_write' } });
      const before = changeable(row);
      const after = { ...before, ...request };
      const changes = changesBetween({ ...before }, after);
      if (Object.keys(changes).length === 0) return this.#toDto(before);
      await manager.update(Settings, { id: true }, after);
      this.audit.record(manager, { actor, action: 'settings.changed', target: TARGET, changes });
      return this.#toDto(after);
    });
  }

  #toDto(settings: Omit<SettingsDto, 'publicUrl'>): SettingsDto {
    return { secondFactorRequired: settings.secondFactorRequired, publicUrl: this.config.publicUrl };
  }
}
