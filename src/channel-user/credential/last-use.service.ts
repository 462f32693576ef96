import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { LastUseWriter, type Use, type UseTable } from '../../platform/database/last-use-writer.ts';

/** A token that a credential obtained. */
export interface CredentialUse extends Use {
  readonly channelUserId: string;
  readonly credentialId: string;
}

const TABLES: readonly UseTable<CredentialUse>[] = [
  {
    name: 'channel_user_use',
    key: 'channel_user_id',
    column: 'last_token_at',
    idOf: ({ channelUserId }) => channelUserId,
  },
  {
    name: 'credential',
    key: 'id',
    column: 'last_used_at',
    more: 'last_used_address = due.address, last_used_user_agent = due.user_agent',
    idOf: ({ credentialId }) => credentialId,
  },
];

/** Records when accounts and credentials were last used, outside of requests. */
@Injectable()
export class LastUseService implements OnApplicationShutdown {
  readonly #writer: LastUseWriter<CredentialUse>;

  constructor(dataSource: DataSource, patience: ReadPatience) {
    const logger = new Logger(LastUseService.name);
    const keyOf = ({ credentialId }: CredentialUse): string => credentialId;
    this.#writer = new LastUseWriter('times of last use', keyOf, TABLES, dataSource, patience, logger);
  }

  /** Nest calls this after the last request was answered and before the database connections are closed. */
  onApplicationShutdown(): Promise<void> {
    return this.#writer.stop();
  }

  /** Records a use. Returns at once and never throws. */
  record(use: CredentialUse): void {
    this.#writer.record(use);
  }

  /** Before a read, writes what this instance has recorded. Gives up if that takes too long or fails. */
  settle(): Promise<void> {
    return this.#writer.settle();
  }
}
