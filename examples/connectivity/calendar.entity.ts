import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { RatePlan, Room } from './property.entity.ts';

/** What a partner said about a room on a day. `null`: nothing yet. */
@Entity('calendar_day')
export class CalendarDay {
  @PrimaryColumn('uuid', { name: 'room_id', primaryKeyConstraintName: 'pk_calendar_day' })
  roomId!: string;

  @ManyToOne(() => Room)
  @JoinColumn({ name: 'room_id', foreignKeyConstraintName: 'fk_calendar_day_room' })
  room?: Room;

  @PrimaryColumn('date', { primaryKeyConstraintName: 'pk_calendar_day' })
  date!: string;

  @Column('integer', { nullable: true })
  inventory!: number | null;

  @Column('boolean', { nullable: true })
  blackout!: boolean | null;

  /** The channel user that changed it last, and when. */
  @Column('uuid', { name: 'pushed_by' })
  pushedBy!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'pushed_at' })
  pushedAt!: Date;
}

/** What a partner said about a rate plan on a day. */
@Entity('rate_plan_day')
export class RatePlanDay {
  @PrimaryColumn('uuid', { name: 'rate_plan_id', primaryKeyConstraintName: 'pk_rate_plan_day' })
  ratePlanId!: string;

  @ManyToOne(() => RatePlan)
  @JoinColumn({ name: 'rate_plan_id', foreignKeyConstraintName: 'fk_rate_plan_day_rate_plan' })
  ratePlan?: RatePlan;

  @PrimaryColumn('date', { primaryKeyConstraintName: 'pk_rate_plan_day' })
  date!: string;

  @Column('integer', { name: 'min_stay', nullable: true })
  minStay!: number | null;

  @Column('integer', { name: 'max_stay', nullable: true })
  maxStay!: number | null;

  @Column('uuid', { name: 'pushed_by' })
  pushedBy!: string;

  @Column({ type: 'timestamptz', precision: 3, name: 'pushed_at' })
  pushedAt!: Date;
}
