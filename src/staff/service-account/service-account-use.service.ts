import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { LastUseWriter, type Use, type UseTable } from '../../platform/database/last-use-writer.ts';

/** A request that a key opened. */
interface KeyUse extends Use {
  readonly serviceAccountId: string;
  readonly keyId: string;
}

const COLUMNS = { key: 'id', column: 'last_used_at', more: 'last_used_address = due.address' } as const;
const TABLES: readonly UseTable<KeyUse>[] = [
  { ...COLUMNS, name: 'service_account', idOf: ({ serviceAccountId }) => serviceAccountId },
  { ...COLUMNS, name: 'service_account_key', idOf: ({ keyId }) => keyId },
];

/** Records when service accounts and their keys were last used, and from which address, outside of requests. */
@Injectable()
export class ServiceAccountUseService implements OnApplicationShutdown {
  readonly #writer: LastUseWriter<KeyUse>;

  constructor(dataSource: DataSource, patience: ReadPatience) {
    const logger = new Logger(ServiceAccountUseService.name);
    const keyOf = ({ keyId }: KeyUse): string => keyId;
    this.#writer = new LastUseWriter('uses of service accounts', keyOf, TABLES, dataSource, patience, logger);
  }

  /** Nest calls this after the last request was answered and before the database connections are closed. */
  onApplicationShutdown(): Promise<void> {
    return this.#writer.stop();
  }

  /** Records a use. Returns at once and never throws. */
  record(use: Omit<KeyUse, 'userAgent'>): void {
    this.#writer.record({ ...use, userAgent: null });
  }

  /** Before a read, writes what this instance has recorded. Gives up if that takes too long or fails. */
  settle(): Promise<void> {
    return this.#writer.settle();
  }
}
