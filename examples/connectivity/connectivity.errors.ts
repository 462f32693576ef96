import { AppError, InvalidInputError } from '../../src/extend.ts';

/** Of a room that staff set up. */
export class CapacityError extends AppError {
  constructor() {
    super({
      status: 409,
      code: 'room.capacity',
      detail: 'Neither adults nor children may be more than the guests, and together they may not be fewer.',
    });
  }
}

export class PropertyNameError extends InvalidInputError {
  /** @param places in the list, from 0 */
  constructor(places: number[]) {
    const messages = ['must be the name of the property that the room belongs to'];
    super(places.map((place) => ({ field: `${String(place)}.propertyName`, messages })));
  }
}
