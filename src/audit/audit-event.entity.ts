import { Column, Entity, Index } from 'typeorm';

/** What Latchkey's own events are about. */
export type CoreTargetType = 'channel-user' | 'staff' | 'signing-key' | 'token' | 'settings' | 'webhook' | 'import';

/**
 * One change. Rows are never updated or deleted (triggers refuse it). What names a person is encrypted under that
 * person's key, see {@link PersonalKey}.
 */
@Entity('audit_event')
@Index('ix_audit_event_target', ['targetId', 'seq'])
@Index('ix_audit_event_actor', ['actorId', 'seq'])
@Index('ix_audit_event_action', ['action', 'seq'])
@Index('ix_audit_event_at', ['at'])
@Index('uq_audit_event_id', ['id'], { unique: true })
export class AuditEvent {
  /** Gives the trail its order: the sequence of the chain, without gaps since that began. A bigint, so a string here. */
  @Column({
    type: 'bigint',
    primary: true,
    primaryKeyConstraintName: 'pk_audit_event',
    generated: 'identity',
    generatedIdentity: 'ALWAYS',
  })
  seq!: string;

  @Column('uuid')
  id!: string;

  @Column({ type: 'timestamptz', precision: 3 })
  at!: Date;

  @Column('text', { name: 'actor_type' })
  actorType!: string;

  @Column('uuid', { name: 'actor_id', nullable: true })
  actorId!: string | null;

  /** `{ name, address }` of a staff member, under that member's key. */
  @Column('bytea', { name: 'actor_personal', nullable: true })
  actorPersonal!: Buffer | null;

  @Column('text')
  action!: string;

  @Column('text', { name: 'target_type' })
  targetType!: string;

  @Column('uuid', { name: 'target_id' })
  targetId!: string;

  /** `{ name, reason, changes }` of the target, and the `address` of an actor without id, under the target's key. */
  @Column('bytea', { name: 'target_personal' })
  targetPersonal!: Buffer;

  /** The changes that name nobody: field → [before, after]. */
  @Column('jsonb')
  changes!: Record<string, [unknown, unknown]>;

  @Column('text', { name: 'request_id', nullable: true })
  requestId!: string | null;

  /** Over this event and the MAC of the one before; absent from events older than the chain. */
  @Column('bytea', { nullable: true })
  mac!: Buffer | null;
}
