import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { ADVISORY_LOCKS, ifUnlocked } from '../../platform/database/advisory-locks.ts';
import { EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { reencryptColumn } from '../../platform/encryption/reencryption.ts';
import { sealContext } from './handover-row.ts';

/** How often the passwords of ended links are wiped. */
const WIPE_MS = 600_000;
/** Passwords that one statement wipes. */
const WIPED_AT_ONCE = 2_000;
/** Wipes the stored passwords of expired links, and encrypts the others again when the key changes. */
@Injectable()
export class HandoverWipeService implements OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: 'Wiping the passwords of expired links',
      everyMs: WIPE_MS,
      run: () => this.wipe(),
    });
  }

  /** Wipes the passwords of expired links, in parts since an import creates very many. One instance at a time wipes. */
  async wipe(): Promise<void> {
    while (await this.#wipeSome());
  }

  /** Wipes one part. @returns whether there may be more */
  async #wipeSome(): Promise<boolean> {
    const isFull = await ifUnlocked(this.dataSource, ADVISORY_LOCKS.handoverWipe, async (manager) => {
      const [, wiped] = await manager.query<[unknown, number]>(
        `UPDATE handover SET sealed_password = NULL WHERE id IN (
           SELECT link.id FROM handover AS link JOIN credential ON credential.id = link.credential_id
           WHERE link.sealed_password IS NOT NULL
             AND LEAST(link.expires_at, credential.expires_at, credential.revoked_at) <= $1
           LIMIT ${String(WIPED_AT_ONCE)})`,
        [new Date(this.clock.now())],
      );
      return wiped === WIPED_AT_ONCE;
    });
    return isFull === true;
  }

  /**
   * Encrypts the stored passwords again under the newest key encryption key, in steps that can be interrupted.
   *
   * @returns how many passwords an older key had encrypted
   */
  reencrypt(): Promise<number> {
    return reencryptColumn(
      this.dataSource.manager,
      { table: 'handover', id: 'id', column: 'sealed_password' },
      (id, sealed) => this.encryption.renewed(sealed, sealContext(id)),
    );
  }
}
