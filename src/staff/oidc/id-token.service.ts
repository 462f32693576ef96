import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { DecryptionError, EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { reencryptColumn } from '../../platform/encryption/reencryption.ts';
import { StaffSession } from '../staff-session.entity.ts';

/** Characters of the longest ID token that is kept. It has to fit into the URL of the provider's sign-out page. */
const MAX_LENGTH = 6_000;

const contextOf = (sessionId: string): string => `id-token:${sessionId}`;

/** Keeps the ID tokens of sessions encrypted. Some providers ask for them when a person signs out. */
@Injectable()
export class IdTokenService {
  constructor(
    @InjectRepository(StaffSession) private readonly sessions: Repository<StaffSession>,
    private readonly encryption: EncryptionService,
  ) {}

  /** @returns nothing for a token that is too long to keep */
  seal(sessionId: string, idToken: string): Buffer | null {
    return idToken.length > MAX_LENGTH ? null : this.encryption.encrypt(Buffer.from(idToken), contextOf(sessionId));
  }

  /** The ID token of a session. @returns nothing when it was not kept, or cannot be read */
  async of(sessionId: string): Promise<string | undefined> {
    const select = { id: true, idToken: true };
    const sealed = (await this.sessions.findOne({ where: { id: sessionId }, select }))?.idToken;
    if (!sealed) return undefined;
    try {
      return this.encryption.decrypt(sealed, contextOf(sessionId)).toString();
    } catch (error) {
      if (error instanceof DecryptionError) return undefined;
      throw error;
    }
  }

  /**
   * Encrypts the ID tokens again under the newest key encryption key.
   *
   * @returns how many an older key had encrypted
   */
  reencrypt(): Promise<number> {
    const column = { table: 'staff_session', id: 'id', column: 'id_token' };
    return reencryptColumn(this.sessions.manager, column, (id, sealed) =>
      this.encryption.renewed(sealed, contextOf(id)),
    );
  }
}
