import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** The one row that says where the chain ends: the last lock of every transaction that changes something. */
@Entity('audit_chain')
@Check('ck_audit_chain_one_row', 'id')
export class AuditChainHead {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_audit_chain' })
  id!: boolean;

  /** The key of the chain, encrypted under the key encryption key; absent until the chain has begun. */
  @Column('bytea', { name: 'wrapped_key', nullable: true })
  wrappedKey!: Buffer | null;

  /** The last of the events from before the chain. A bigint, so a string here, as the next two. */
  @Column('bigint', { name: 'genesis_sequence', nullable: true })
  genesisSequence!: string | null;

  @Column('bigint', { name: 'genesis_events', nullable: true })
  genesisEvents!: string | null;

  /** Covers the events from before the chain; the first event continues from it. */
  @Column('bytea', { name: 'genesis_mac', nullable: true })
  genesisMac!: Buffer | null;

  @Column('bigint', { nullable: true })
  sequence!: string | null;

  @Column('bytea', { nullable: true })
  mac!: Buffer | null;

  @Column({ type: 'timestamptz', precision: 3, nullable: true })
  at!: Date | null;

  /** What the last verification found, encrypted under the key of the chain: nobody else writes it. */
  @Column('bytea', { nullable: true })
  verified!: Buffer | null;
}
