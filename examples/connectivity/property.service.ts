import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { MoreThan, MoreThanOrEqual, Repository } from 'typeorm';
import {
  type Actor,
  AuditService,
  changesBetween,
  Clock,
  decodeCursor,
  DEFAULT_PAGE,
  encodeCursor,
  GrantService,
  isUuid,
  type Page,
  pageOf,
  ResourceNotFoundError,
} from '../../src/extend.ts';
import type { Capacity, RoomConnectivityRequest } from './content.dto.ts';
import { CalendarDay } from './calendar.entity.ts';
import { CapacityError, InventoryConflictError } from './connectivity.errors.ts';
import type { CreateRoomRequest, ListPropertiesQuery, PropertyWithRoomsDto } from './property.dto.ts';
import { Property, RatePlan, Room } from './property.entity.ts';

/** Whether the numbers of a room fit together. */
const fits = ({ maxGuests, maxAdults, maxChildren }: Capacity): boolean =>
  maxAdults <= maxGuests && maxChildren <= maxGuests && maxGuests <= maxAdults + maxChildren;

@Injectable()
export class PropertyService {
  constructor(
    @InjectRepository(Property) private readonly properties: Repository<Property>,
    @InjectRepository(Room) private readonly rooms: Repository<Room>,
    @InjectRepository(RatePlan) private readonly ratePlans: Repository<RatePlan>,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    grants: GrantService,
  ) {
    grants.viaParent('room', 'property', async (id) => {
      const room = isUuid(id)
        ? await this.rooms.findOne({ where: { id }, select: { id: true, propertyId: true } })
        : null;
      return room?.propertyId;
    });
    grants.viaParent('rate-plan', 'property', async (id) => {
      const plan = isUuid(id) ? await this.ratePlans.findOne({ where: { id }, relations: { room: true } }) : null;
      return plan?.room?.propertyId;
    });
  }

  /** By name. */
  roomsOf(propertyId: string): Promise<Pick<Room, 'id' | 'name'>[]> {
    return this.rooms.find({
      where: { propertyId },
      select: { id: true, name: true },
      order: { name: 'ASC', id: 'ASC' },
    });
  }

  /** By name. */
  ratePlansOf(roomId: string): Promise<RatePlan[]> {
    return this.ratePlans.find({ where: { roomId }, order: { name: 'ASC', id: 'ASC' } });
  }

  /** @throws ResourceNotFoundError */
  async property(id: string): Promise<Property> {
    const property = await this.properties.findOneBy({ id });
    if (!property) throw new ResourceNotFoundError('property');
    return property;
  }

  /** @throws ResourceNotFoundError */
  async room(id: string): Promise<Room> {
    const room = await this.rooms.findOneBy({ id });
    if (!room) throw new ResourceNotFoundError('room');
    return room;
  }

  /**
   * @returns whether the numbers fit together; if not, nothing changes
   * @throws InventoryConflictError when more are free on a day that has not ended yet
   */
  async pushRoom({ id, qty, ...capacity }: RoomConnectivityRequest, channelUserId: string): Promise<boolean> {
    if (!fits(capacity)) return false;
    await this.rooms.manager.transaction(async (manager) => {
      await manager.update(Room, { id }, { ...capacity, quantity: qty, pushedBy: channelUserId });
      // Days in UTC, as everywhere in the calendar.
      const today = new Date(this.clock.now()).toISOString().slice(0, 10);
      const where = { roomId: id, date: MoreThanOrEqual(today), inventory: MoreThan(qty) };
      const more = await manager.findOne(CalendarDay, { where, order: { date: 'ASC' } });
      if (more) throw new InventoryConflictError(more.date, more.inventory ?? 0);
    });
    return true;
  }

  async list({ limit = DEFAULT_PAGE, cursor }: ListPropertiesQuery): Promise<Page<Property>> {
    const page = this.properties
      .createQueryBuilder('property')
      .orderBy('property.id', 'ASC')
      .limit(limit + 1);
    if (cursor !== undefined) {
      const [after] = decodeCursor(cursor, 'property', [isUuid]);
      page.where('property.id > :after', { after });
    }
    return pageOf(await page.getMany(), limit, ({ id }) => encodeCursor('property', [id]));
  }

  /** With rooms and rate plans. @throws ResourceNotFoundError */
  async describe(id: string): Promise<PropertyWithRoomsDto> {
    const property = await this.property(id);
    const rooms = await this.rooms.find({ where: { propertyId: id }, order: { name: 'ASC', id: 'ASC' } });
    const plans = await this.ratePlans.find({ where: { room: { propertyId: id } }, order: { name: 'ASC', id: 'ASC' } });
    return {
      ...property,
      rooms: rooms.map((room) => ({ ...room, ratePlans: plans.filter(({ roomId }) => roomId === room.id) })),
    };
  }

  create(name: string, actor: Actor): Promise<Property> {
    return this.audit.transaction(async (manager) => {
      const property = { id: randomUUID(), name, images: [] };
      await manager.insert(Property, property);
      const target = { type: 'property', id: property.id, name };
      this.audit.record(manager, { actor, action: 'property.created', target, changes: changesBetween({}, { name }) });
      return property;
    });
  }

  /** @throws ResourceNotFoundError, CapacityError */
  async createRoom(propertyId: string, request: CreateRoomRequest, actor: Actor): Promise<Room> {
    if (!fits(request)) throw new CapacityError();
    await this.property(propertyId);
    return this.audit.transaction(async (manager) => {
      const room = { ...request, id: randomUUID(), propertyId, images: [], pushedBy: null };
      await manager.insert(Room, room);
      const target = { type: 'room', id: room.id, name: room.name };
      const changes = changesBetween({}, { ...request, propertyId });
      this.audit.record(manager, { actor, action: 'room.created', target, changes });
      return room;
    });
  }

  /** @throws ResourceNotFoundError */
  async createRatePlan(roomId: string, name: string, actor: Actor): Promise<RatePlan> {
    await this.room(roomId);
    return this.audit.transaction(async (manager) => {
      const plan = { id: randomUUID(), roomId, name };
      await manager.insert(RatePlan, plan);
      const target = { type: 'rate-plan', id: plan.id, name };
      const changes = changesBetween({}, { name, roomId });
      this.audit.record(manager, { actor, action: 'rate-plan.created', target, changes });
      return plan;
    });
  }

  /** @throws ResourceNotFoundError */
  setImages(type: 'property' | 'room', id: string, images: string[], actor: Actor): Promise<Property | Room> {
    const entity = type === 'property' ? Property : Room;
    return this.audit.transaction(async (manager) => {
      const before = await manager.findOne<Property | Room>(entity, {
        where: { id },
        lock: { mode: 'pessimistic_write' },
      });
      if (!before) throw new ResourceNotFoundError(type);
      const changes = changesBetween({ images: before.images }, { images });
      if (Object.keys(changes).length > 0) {
        await manager.update(entity, { id }, { images });
        this.audit.record(manager, {
          actor,
          action: `${type}.images-changed`,
          target: { type, id, name: before.name },
          changes,
        });
      }
      return { ...before, images };
    });
  }
}
