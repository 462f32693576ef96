import { Type } from 'class-transformer';
import { Allow, IsInt, IsString, ValidateNested } from 'class-validator';
import { toDto } from './validation.ts';

class Place {
  @IsString()
  city!: string;
}

class Stay {
  @IsInt()
  nights!: number;

  @ValidateNested()
  @Type(() => Place)
  place!: Place;
}

class Anything {
  @Allow()
  value: unknown;
}

describe('a DTO', () => {
  it('is made of what a client sent', () => {
    const { value, errors } = toDto({ nights: 2, place: { city: 'Bonn' } }, Stay);
    expect(errors).toEqual([]);
    expect(value.place).toBeInstanceOf(Place);
  });

  it('has errors only of the fields that break a rule, however deep they are', () => {
    const { errors } = toDto({ nights: '2', place: { city: 1, street: 'x' }, guests: [] }, Stay);
    expect(errors.toSorted((a, b) => a.field.localeCompare(b.field))).toEqual([
      { field: 'guests', messages: ['is not a known field'] },
      { field: 'nights', messages: ['must be an integer number'] },
      { field: 'place.city', messages: ['must be a string'] },
      { field: 'place.street', messages: ['is not a known field'] },
    ]);
  });

  it('may be nested in 16 levels, and no more', () => {
    const nested = (levels: number): object => (levels === 0 ? {} : { value: nested(levels - 1) });
    expect(toDto(nested(16), Anything).errors).toEqual([]);
    expect(toDto(nested(17), Anything).errors).toEqual([{ field: '', messages: ['must be nested less deeply'] }]);
  });
});
