import { AppError, InvalidInputError } from '../../src/extend.ts';

/** Of a room that staff set up. */
export class CapacityError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'room.capacity',
      detail:
        'The maximum numbers of adults and of children must each be at most the number of guests, and their sum at least that number.',
    });
  }
}

export class PropertyNameError extends InvalidInputError {
  /**
   * @param places in the list, from 0
   * @param expected the name that the property has
   */
  constructor(places: number[], expected: string) {
    const messages = [`must be ${JSON.stringify(expected)}, the name of the property that the room belongs to`];
    super(places.map((place) => ({ field: `${String(place)}.propertyName`, messages })));
  }
}

/** Days of a push that do not fit what is known of them already. */
export class CalendarConflictError extends InvalidInputError {
  /** @param days their places in the list, from 0, and what is wrong with each */
  constructor(field: string, days: { place: number; message: string }[]) {
    super(days.map(({ place, message }) => ({ field: `${String(place)}.${field}`, messages: [message] })));
  }
}

/** A room would have fewer units than a partner has said to be free. */
export class InventoryConflictError extends AppError {
  constructor(day: string, free: number) {
    super({
      status: 409,
      code: 'room.inventory',
      detail: `On ${day}, ${String(free)} units of the room are free, more than the new quantity. Lower the inventory first.`,
    });
  }
}
