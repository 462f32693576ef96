import { ApiProperty } from '@nestjs/swagger';
import { ResourceId, WholeNumber } from './field-rules.ts';

export class PropertyQuery {
  @ResourceId()
  propertyId!: string;
}

export class RoomQuery {
  @ResourceId()
  roomId!: string;
}

export class RoomItemDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ example: 'Double room' })
  name!: string;
}

export class RatePlanItemDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ example: 'Flexible' })
  rate_name!: string;
}

export class RoomImagesDto {
  @ApiProperty({ type: [String], example: ['https://images.example/rooms/double.jpg'] })
  imgPath!: string[];
}

export class PropertyImagesDto {
  @ApiProperty({ type: [String], example: ['properties/seaside/front.jpg'] })
  propertyImagesPath!: string[];
}

export class Capacity {
  @WholeNumber(1, 100)
  maxGuests!: number;

  @WholeNumber(0, 100)
  maxAdults!: number;

  @WholeNumber(0, 100)
  maxChildren!: number;
}

export class RoomConnectivityRequest extends Capacity {
  @ResourceId()
  id!: string;

  @WholeNumber(0, 10_000)
  qty!: number;
}
