import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Staff } from './staff.entity.ts';

/** A sign-in of a staff member. Its token works as long as this row exists. */
@Entity('staff_session')
@Index('ix_staff_session_staff', ['staffId'])
export class StaffSession {
  /** The `jti` of its token. */
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_staff_session' })
  id!: string;

  @Column('uuid', { name: 'staff_id' })
  staffId!: string;

  @ManyToOne(() => Staff, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'staff_id', foreignKeyConstraintName: 'fk_staff_session_staff' })
  staff?: Relation<Staff>;

  @CreateDateColumn({ type: 'timestamptz', precision: 3, name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', precision: 3, name: 'expires_at' })
  expiresAt!: Date;

  /** Whether the token is in the console's cookie. Such a session ends when it is unused. */
  @Column('boolean', { name: 'by_cookie', default: false })
  byCookie!: boolean;

  /** Last use of a cookie session, accurate to the minute. */
  @Column({ type: 'timestamptz', precision: 3, name: 'last_seen_at', default: () => 'now()' })
  lastSeenAt!: Date;

  /** When the person last proved who they are: at the sign-in, or later in this session. */
  @Column({ type: 'timestamptz', precision: 3, name: 'authenticated_at', default: () => 'now()' })
  authenticatedAt!: Date;

  /** The session at the identity provider (`sid`), which a back-channel logout names. */
  @Column('text', { name: 'oidc_sid', nullable: true })
  oidcSid!: string | null;

  /** The ID token of the sign-in, encrypted under the key encryption key, for signing out at the identity provider. */
  @Column('bytea', { name: 'id_token', nullable: true, select: false })
  idToken!: Buffer | null;
}
