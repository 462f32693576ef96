import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type EntityManager, Repository } from 'typeorm';
import { Clock, InvalidInputError, ResourceNotFoundError, tidied } from '../../src/extend.ts';
import type { BlackoutDay, InventoryDay, MaxStayDay, MinStayDay, PushedDay, RatePlanQuery } from './calendar.dto.ts';
import { CalendarDay, RatePlanDay } from './calendar.entity.ts';
import { CalendarConflictError, PropertyNameError } from './connectivity.errors.ts';
import type { CalendarDto } from './property.dto.ts';
import { RatePlan, Room } from './property.entity.ts';

/** What a partner says about some days of a room or a rate plan. */
interface Push {
  readonly statement: string;
  readonly id: string;
  readonly days: PushedDay[];
  readonly values: (number | boolean)[];
  readonly channelUserId: string;
}

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

/** Days of a push whose minimum is above their maximum, now that both are known. */
const CROSSED = `
  SELECT date::text AS date, min_stay AS "minStay", max_stay AS "maxStay" FROM rate_plan_day
  WHERE rate_plan_id = $1 AND date = ANY($2::date[]) AND min_stay > max_stay ORDER BY date LIMIT 10`;

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

  /** @throws PropertyNameError, CalendarConflictError where more would be free than there are */
  async pushInventory(roomId: string, days: InventoryDay[], channelUserId: string): Promise<void> {
    await this.#checkNames(roomId, days);
    const push = {
      statement: INVENTORY,
      id: roomId,
      days,
      values: days.map(({ inventoryNumber }) => inventoryNumber),
      channelUserId,
    };
    await this.#push(push, async (manager) => {
      // Held, so that the number of rooms does not fall meanwhile.
      const room = await manager.findOne(Room, { where: { id: roomId }, lock: { mode: 'pessimistic_read' } });
      if (!room) throw new ResourceNotFoundError('room');
      const tooMany = days.flatMap(({ date, inventoryNumber }, place) => {
        if (inventoryNumber <= room.quantity) return [];
        return { place, message: `must be at most ${String(room.quantity)} on ${date}: the room has no more units` };
      });
      if (tooMany.length > 0) throw new CalendarConflictError('inventoryNumber', tooMany.slice(0, 10));
    });
  }

  /** @throws PropertyNameError */
  async pushBlackout(roomId: string, days: BlackoutDay[], channelUserId: string): Promise<void> {
    await this.#checkNames(roomId, days);
    const values = days.map(({ blackoutStatus }) => blackoutStatus);
    await this.#push({ statement: BLACKOUT, id: roomId, days, values, channelUserId });
  }

  /** @throws ResourceNotFoundError where the rate plan is another room's, PropertyNameError, CalendarConflictError */
  async pushMinStay(of: RatePlanQuery, days: MinStayDay[], channelUserId: string): Promise<void> {
    await this.#checkPlan(of, days);
    const values = days.map(({ minStay }) => minStay);
    const push = { statement: MIN_STAY, id: of.ratePlanId, days, values, channelUserId };
    await this.#push(push, (manager) => this.#checkStays(manager, of.ratePlanId, days, 'minStay'));
  }

  /** @throws ResourceNotFoundError where the rate plan is another room's, PropertyNameError, CalendarConflictError */
  async pushMaxStay(of: RatePlanQuery, days: MaxStayDay[], channelUserId: string): Promise<void> {
    await this.#checkPlan(of, days);
    const values = days.map(({ maxStay }) => maxStay);
    const push = { statement: MAX_STAY, id: of.ratePlanId, days, values, channelUserId };
    await this.#push(push, (manager) => this.#checkStays(manager, of.ratePlanId, days, 'maxStay'));
  }

  /**
   * What is known of a room's year.
   *
   * @param from the first day, as `YYYY-MM-DD`; today in UTC unless said otherwise
   * @throws InvalidInputError
   */
  async yearOf(roomId: string, from = dayOf(this.clock.now())): Promise<CalendarDto> {
    const start = Date.parse(`${from}T00:00:00Z`);
    // A day that a month does not have would be one of the next month.
    if (Number.isNaN(start) || dayOf(start) !== from) {
      throw new InvalidInputError([{ field: 'from', messages: ['must be an existing day'] }]);
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
    const name = room.property?.name ?? '';
    const wrong = days.flatMap(({ propertyName }, place) => (propertyName === tidied(name) ? [] : [place]));
    if (wrong.length > 0) throw new PropertyNameError(wrong.slice(0, 10), name);
  }

  /** A minimum and a maximum are pushed by themselves: only after one of them is written do both show. */
  async #checkStays(
    manager: EntityManager,
    ratePlanId: string,
    days: PushedDay[],
    field: 'minStay' | 'maxStay',
  ): Promise<void> {
    const dates = days.map(({ date }) => date);
    const crossed = await manager.query<{ date: string; minStay: number; maxStay: number }[]>(CROSSED, [
      ratePlanId,
      dates,
    ]);
    if (crossed.length === 0) return;
    const conflicts = crossed.map(({ date, minStay, maxStay }) => {
      const message =
        field === 'minStay'
          ? `must be at most ${String(maxStay)} on ${date}, the maximum stay of that day`
          : `must be at least ${String(minStay)} on ${date}, the minimum stay of that day`;
      return { place: dates.indexOf(date), message };
    });
    throw new CalendarConflictError(field, conflicts);
  }

  /** @param check throws when the days do not fit, once they are written: then none is */
  async #push(
    { statement, id, days, values, channelUserId }: Push,
    check?: (manager: EntityManager) => Promise<void>,
  ): Promise<void> {
    const dates = days.map(({ date }) => date);
    await this.dataSource.transaction(async (manager) => {
      await manager.query(statement, [id, dates, values, channelUserId, new Date(this.clock.now())]);
      await check?.(manager);
    });
  }
}
