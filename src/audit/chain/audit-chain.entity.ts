import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** The one row that says where the chain ends. Every transaction that records events locks this row last. */
@Entity('audit_chain')
@Check('ck_audit_chain_one_row', 'id')
export class AuditChainHead {
  @PrimaryColumn('boolean', { default: true, primaryKeyConstraintName: 'pk_audit_chain' })
  id!: boolean;

  /** The key of the chain, encrypted under the key encryption key; absent until the chain has begun. */
  @Column('bytea', { name: 'wrapped_key', nullable: true })
  wrappedKey!: Buffer | null;

  /** The last event older than the chain. A bigint, so a string, like `genesisEvents` and `sequence`. */
  @Column('bigint', { name: 'genesis_sequence', nullable: true })
  genesisSequence!: string | null;

  @Column('bigint', { name: 'genesis_events', nullable: true })
  genesisEvents!: string | null;

  /** Covers every event older than the chain. The first event of the chain continues from this MAC. */
  @Column('bytea', { name: 'genesis_mac', nullable: true })
  genesisMac!: Buffer | null;

  @Column('bigint', { nullable: true })
  sequence!: string | null;

  @Column('bytea', { nullable: true })
  mac!: Buffer | null;

  @Column({ type: 'timestamptz', precision: 3, nullable: true })
  at!: Date | null;

  /** The result of the last verification, encrypted under the chain's key, so that only Latchkey can write it. */
  @Column('bytea', { nullable: true })
  verified!: Buffer | null;
}
