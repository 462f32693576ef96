import { Column, Entity, Index } from 'typeorm';

/** The target types of Latchkey's own events. Modules record events about types of their own. */
export type CoreTargetType =
  'channel-user' | 'staff' | 'service-account' | 'signing-key' | 'token' | 'settings' | 'webhook' | 'import';

/**
 * One event of the audit trail. Triggers refuse to update or delete its row. Everything that names a person is
 * encrypted under that person's {@link PersonalKey}.
 */
@Entity('audit_event')
@Index('ix_audit_event_target', ['targetId', 'seq'])
@Index('ix_audit_event_actor', ['actorId', 'seq'])
@Index('ix_audit_event_actor_type', ['actorType', 'seq'])
@Index('ix_audit_event_action', ['action', 'seq'])
@Index('ix_audit_event_at', ['at'])
@Index('ix_audit_event_request', ['requestId', 'seq'], { where: 'request_id IS NOT NULL' })
@Index('uq_audit_event_id', ['id'], { unique: true })
export class AuditEvent {
  /** The event's place in the chain, which has no gaps since the chain began. A bigint, so a string in JavaScript. */
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

  /** `{ name, address }` of a staff member or service account, encrypted under its key. */
  @Column('bytea', { name: 'actor_personal', nullable: true })
  actorPersonal!: Buffer | null;

  @Column('text')
  action!: string;

  @Column('text', { name: 'target_type' })
  targetType!: string;

  @Column('uuid', { name: 'target_id' })
  targetId!: string;

  /** Under the target's key: its `{ name, reason, changes }`, and the `address` of an actor without an id. */
  @Column('bytea', { name: 'target_personal' })
  targetPersonal!: Buffer;

  /** Changes of fields that hold nothing personal: field → [before, after]. */
  @Column('jsonb')
  changes!: Record<string, [unknown, unknown]>;

  @Column('text', { name: 'request_id', nullable: true })
  requestId!: string | null;

  /** Covers this event and the MAC of the event before it. Events older than the chain have no MAC. */
  @Column('bytea', { nullable: true })
  mac!: Buffer | null;
}
