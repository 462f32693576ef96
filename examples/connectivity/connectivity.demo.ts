import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { type Actor, Clock, type Demo, type DemoCall } from '../../src/extend.ts';
import { Property } from './property.entity.ts';
import { PropertyService } from './property.service.ts';
import { CALENDAR_WRITE, CONTENT_READ, PROPERTY_WRITE } from './scopes.ts';

const NAME = 'Demo property';
const ROOM = { name: 'Double room', quantity: 5, maxGuests: 2, maxAdults: 2, maxChildren: 1 };
const DAY_MS = 86_400_000;

/** A property with one room for the demo partner, which reads it and says how many rooms are left. */
@Injectable()
export class ConnectivityDemo implements Demo {
  readonly scopes = [CONTENT_READ, PROPERTY_WRITE, CALENDAR_WRITE].map(({ name }) => name);

  constructor(
    @InjectRepository(Property) private readonly properties: Repository<Property>,
    private readonly service: PropertyService,
    private readonly clock: Clock,
  ) {}

  async prepare(actor: Actor): ReturnType<Demo['prepare']> {
    const known = await this.properties.findOne({ where: { name: NAME }, order: { id: 'ASC' } });
    const { id } = known ?? (await this.service.create(NAME, actor));
    const [room = await this.service.createRoom(id, ROOM, actor)] = await this.service.roomsOf(id);
    return {
      grants: [{ resourceType: 'property', resourceIds: [id] }],
      calls: [{ method: 'POST', path: `/getRooms?propertyId=${id}` }, this.#inventory(room.id)],
    };
  }

  /** How many of a room are left tomorrow and the day after, in UTC. */
  #inventory(roomId: string): DemoCall {
    const body = [1, 2].map((days) => ({
      date: new Date(this.clock.now() + days * DAY_MS).toISOString().slice(0, 10),
      propertyName: NAME,
      inventoryNumber: 3,
    }));
    return { method: 'POST', path: `/updateCalendarInventory?roomId=${roomId}`, body };
  }
}
