import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';

@Entity('property')
export class Property {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_property' })
  id!: string;

  @Column('text')
  name!: string;

  /** Paths, relative to wherever the partner takes images from. */
  @Column('text', { array: true, default: [] })
  images!: string[];
}

@Entity('room')
@Index('ix_room_property', ['propertyId'])
@Check(
  'ck_room_capacity',
  `max_guests <= max_adults + max_children AND max_adults <= max_guests AND max_children <= max_guests`,
)
export class Room {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_room' })
  id!: string;

  @Column('uuid', { name: 'property_id' })
  propertyId!: string;

  @ManyToOne(() => Property)
  @JoinColumn({ name: 'property_id', foreignKeyConstraintName: 'fk_room_property' })
  property?: Property;

  @Column('text')
  name!: string;

  /** How many rooms of this kind there are. */
  @Column('integer')
  quantity!: number;

  @Column('integer', { name: 'max_guests' })
  maxGuests!: number;

  @Column('integer', { name: 'max_adults' })
  maxAdults!: number;

  @Column('integer', { name: 'max_children' })
  maxChildren!: number;

  /** Absolute URLs. */
  @Column('text', { array: true, default: [] })
  images!: string[];

  /** The channel user that changed it last. */
  @Column('uuid', { name: 'pushed_by', nullable: true })
  pushedBy!: string | null;
}

@Entity('rate_plan')
@Index('ix_rate_plan_room', ['roomId'])
export class RatePlan {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'pk_rate_plan' })
  id!: string;

  @Column('uuid', { name: 'room_id' })
  roomId!: string;

  @ManyToOne(() => Room)
  @JoinColumn({ name: 'room_id', foreignKeyConstraintName: 'fk_rate_plan_room' })
  room?: Room;

  @Column('text')
  name!: string;
}
