import { Check, Column, CreateDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import type { Role } from '../../platform/common/principal.ts';

export const SERVICE_ACCOUNT_STATUSES = ['active', 'suspended', 'expired', 'revoked'] as const;
export type ServiceAccountStatus = (typeof SERVICE_ACCOUNT_STATUSES)[number];

/** The identity of a script that provisions. It has keys instead of a password. */
@Entity('service_account')
@Check('ck_service_account_role', `role IN ('viewer', 'operator', 'admin')`)
@Index('uq_service_account_name', ['nameKey'], { unique: true })
export class ServiceAccount {
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'pk_service_account' })
  id!: string;

  @Column('text')
  name!: string;

  /** The name in lower case, for uniqueness and lookup. */
  @Column('text', { name: 'name_key' })
  nameKey!: string;

  @Column('text')
  role!: Role;

  /** Addresses and CIDR networks. An empty list allows every address. */
  @Column('text', { name: 'allowed_ips', array: true })
  allowedIps!: string[];

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column({ type: 'timestamptz', precision: 3, name: 'suspended_at', nullable: true })
  suspendedAt!: Date | null;

  /** When all its keys were ended for good. */
  @Column({ type: 'timestamptz', precision: 3, name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  /** Accurate to about a minute, like the address. */
  @Column({ type: 'timestamptz', precision: 3, name: 'last_used_at', nullable: true })
  lastUsedAt!: Date | null;

  @Column('text', { name: 'last_used_address', nullable: true })
  lastUsedAddress!: string | null;

  /** Revoked outranks suspended, and suspended outranks expired. */
  statusAt(now: number): ServiceAccountStatus {
    if (this.revokedAt !== null) return 'revoked';
    if (this.suspendedAt !== null) return 'suspended';
    return this.expiresAt !== null && this.expiresAt.getTime() <= now ? 'expired' : 'active';
  }
}
