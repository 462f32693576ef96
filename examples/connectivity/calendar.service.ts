import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { Clock, InvalidInputError, ResourceNotFoundError } from '../../src/extend.ts';
import type { BlackoutDay, InventoryDay, MaxStayDay, MinStayDay, PushedDay, RatePlanQuery } from './calendar.dto.ts';
import { CalendarDay, RatePlanDay } from './calendar.entity.ts';
import { PropertyNameError } from './connectivity.errors.ts';
import type { CalendarDto } from './property.dto.ts';
import { RatePlan, Room } from './property.entity.ts';

/** How a push is written: which table and key, and which column with which type. */
interface Target {
  readonly table: 'calendar_day' | 'rate_plan_day';
  readonly key: 'room_id' | 'rate_plan_id';
  readonly column: 'inventory' | 'blackout' | 'min_stay' | 'max_stay';
  readonly type: 'integer' | 'boolean';
}

/**
 * One statement for all days: all of them or none. In the order of the days, so that two pushes that meet wait for each
 * other instead of for both. A push that was sent twice writes nothing the second time.
 */
const upsert = ({ table, key, column, type }: Target): string => `
  INSERT INTO ${table} (${key}, date, ${column}, pushed_by, pushed_at)
  SELECT $1, day, value, $4, $5 FROM unnest($2::date[], $3::${type}[]) AS pushed (day, value) ORDER BY day
  ON CONFLICT (${key}, date) DO UPDATE
    SET ${column} = excluded.${column}, pushed_by = excluded.pushed_by, pushed_at = excluded.pushed_at
    WHERE ${table}.${column} IS DISTINCT FROM excluded.${column}`;

const INVENTORY = upsert({ table: 'calendar_day', key: 'room_id', column: 'inventory', type: 'integer' });
const BLACKOUT = upsert({ table: 'calendar_day', key: 'room_id', column: 'blackout', type: 'boolean' });
const MIN_STAY = upsert({ table: 'rate_plan_day', key: 'rate_plan_id', column: 'min_stay', type: 'integer' });
const MAX_STAY = upsert({ table: 'rate_plan_day', key: 'rate_plan_id', column: 'max_stay', type: 'integer' });

const DAY_MS = 86_400_000;
const LAST_DAY = Date.UTC(9999, 11, 31);
const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** What partners say about days. */
@Injectable()
export class CalendarService {
  constructor(
    private readonly dataSource: DataSource,
    @InjectRepository(Room) private readonly rooms: Repository<Room>,
    @InjectRepository(RatePlan) private readonly ratePlans: Repository<RatePlan>,
    @InjectRepository(CalendarDay) private readonly days: Repository<CalendarDay>,
    @InjectRepository(RatePlanDay) private readonly ratePlanDays: Repository<RatePlanDay>,
    private readonly clock: Clock,
  ) {}

  /** @throws PropertyNameError */
  async pushInventory(roomId: string, days: InventoryDay[], channelUserId: string): Promise<void> {
    await this.#checkNames(roomId, days);
    await this.#push(
      INVENTORY,
      roomId,
      days,
      days.map(({ inventoryNumber }) => inventoryNumber),
      channelUserId,
    );
  }

  /** @throws PropertyNameError */
  async pushBlackout(roomId: string, days: BlackoutDay[], channelUserId: string): Promise<void> {
    await this.#checkNames(roomId, days);
    await this.#push(
      BLACKOUT,
      roomId,
      days,
      days.map(({ blackoutStatus }) => blackoutStatus),
      channelUserId,
    );
  }

  /** @throws ResourceNotFoundError where the rate plan is another room's, PropertyNameError */
  async pushMinStay(of: RatePlanQuery, days: MinStayDay[], channelUserId: string): Promise<void> {
    await this.#checkPlan(of, days);
    await this.#push(
      MIN_STAY,
      of.ratePlanId,
      days,
      days.map(({ minStay }) => minStay),
      channelUserId,
    );
  }

  /** @throws ResourceNotFoundError where the rate plan is another room's, PropertyNameError */
  async pushMaxStay(of: RatePlanQuery, days: MaxStayDay[], channelUserId: string): Promise<void> {
    await this.#checkPlan(of, days);
    await this.#push(
      MAX_STAY,
      of.ratePlanId,
      days,
      days.map(({ maxStay }) => maxStay),
      channelUserId,
    );
  }

  /**
   * What is known of a room's year.
   *
   * @param from the first day, as `YYYY-MM-DD`; today unless said otherwise
   * @throws InvalidInputError
   */
  async yearOf(roomId: string, from = dayOf(this.clock.now())): Promise<CalendarDto> {
    const start = Date.parse(`${from}T00:00:00Z`);
    // A day that a month does not have would be one of the next month.
    if (Number.isNaN(start) || dayOf(start) !== from) {
      throw new InvalidInputError([{ field: 'from', messages: ['must be a day that exists'] }]);
    }
    const range = { from, last: dayOf(Math.min(start + 365 * DAY_MS, LAST_DAY)) };
    const days = await this.days
      .createQueryBuilder('day')
      .where('day.roomId = :roomId AND day.date BETWEEN :from AND :last', { roomId, ...range })
      .orderBy('day.date')
      .getMany();
    const ratePlanDays = await this.ratePlanDays
      .createQueryBuilder('day')
      .innerJoin('day.ratePlan', 'plan')
      .where('plan.roomId = :roomId AND day.date BETWEEN :from AND :last', { roomId, ...range })
      .orderBy('day.ratePlanId')
      .addOrderBy('day.date')
      .getMany();
    return { days, ratePlanDays };
  }

  async #checkPlan({ roomId, ratePlanId }: RatePlanQuery, days: PushedDay[]): Promise<void> {
    if (!(await this.ratePlans.existsBy({ id: ratePlanId, roomId }))) throw new ResourceNotFoundError('rate-plan');
    await this.#checkNames(roomId, days);
  }

  async #checkNames(roomId: string, days: PushedDay[]): Promise<void> {
    const room = await this.rooms.findOne({ where: { id: roomId }, relations: { property: true } });
    if (!room) throw new ResourceNotFoundError('room');
    const wrong = days.flatMap(({ propertyName }, place) => (propertyName === room.property?.name ? [] : [place]));
    if (wrong.length > 0) throw new PropertyNameError(wrong.slice(0, 10));
  }

  async #push(
    statement: string,
    id: string,
    days: PushedDay[],
    values: (number | boolean)[],
    channelUserId: string,
  ): Promise<void> {
    const dates = days.map(({ date }) => date);
    await this.dataSource.query(statement, [id, dates, values, channelUserId, new Date(this.clock.now())]);
  }
}
