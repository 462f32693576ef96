import { Body, Controller, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import {
  ApiProblems,
  type ChannelUserPrincipal,
  CurrentChannelUser,
  Granted,
  PartnerPlane,
  Scopes,
} from '../../src/extend.ts';
import {
  PropertyImagesDto,
  PropertyQuery,
  RatePlanItemDto,
  RoomConnectivityRequest,
  RoomImagesDto,
  RoomItemDto,
  RoomQuery,
} from './content.dto.ts';
import { PropertyService } from './property.service.ts';
import { CONTENT_READ, PROPERTY_WRITE } from './scopes.ts';

@Controller()
@PartnerPlane('Content')
export class ContentController {
  constructor(private readonly properties: PropertyService) {}

  @Post('getRooms')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('property', 'propertyId')
  @ApiOperation({ operationId: 'getRooms', summary: 'The rooms of a property' })
  @ApiOkResponse({ type: [RoomItemDto] })
  @ApiProblems(400, 404)
  rooms(@Query() { propertyId }: PropertyQuery): Promise<RoomItemDto[]> {
    return this.properties.roomsOf(propertyId);
  }

  @Post('returnRatePlan')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('room', 'roomId')
  @ApiOperation({ operationId: 'returnRatePlan', summary: 'The rate plans of a room' })
  @ApiOkResponse({ type: [RatePlanItemDto] })
  @ApiProblems(400, 404)
  async ratePlans(@Query() { roomId }: RoomQuery): Promise<RatePlanItemDto[]> {
    return (await this.properties.ratePlansOf(roomId)).map(({ id, name }) => ({ id, rate_name: name }));
  }

  @Post('getApiRoomImages')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('room', 'roomId')
  @ApiOperation({ operationId: 'getApiRoomImages', summary: 'Where the images of a room are' })
  @ApiOkResponse({ type: RoomImagesDto })
  @ApiProblems(400, 404, 413, 415)
  async roomImages(@Body() { roomId }: RoomQuery): Promise<RoomImagesDto> {
    return { imgPath: (await this.properties.room(roomId)).images };
  }

  @Post('getApiPropertyImages')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('property', 'propertyId')
  @ApiOperation({ operationId: 'getApiPropertyImages', summary: 'Where the images of a property are' })
  @ApiOkResponse({ type: PropertyImagesDto })
  @ApiProblems(400, 404, 413, 415)
  async propertyImages(@Body() { propertyId }: PropertyQuery): Promise<PropertyImagesDto> {
    return { propertyImagesPath: (await this.properties.property(propertyId)).images };
  }

  @Post('getRoomResponseConnectivity')
  @HttpCode(200)
  @Scopes(PROPERTY_WRITE)
  @Granted('room', 'id')
  @ApiOperation({
    operationId: 'getRoomResponseConnectivity',
    summary: 'Say how many of a room there are, and for how many guests',
    description:
      '`true`: the room has these numbers now. `false`: they do not fit together, and nothing has changed. They fit when ' +
      'neither adults nor children alone are more than the guests, and together they are not fewer.',
  })
  @ApiOkResponse({ schema: { type: 'boolean' } })
  @ApiProblems(400, 404, 413, 415)
  connectivity(
    @Body() request: RoomConnectivityRequest,
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<boolean> {
    return this.properties.pushRoom(request, id);
  }
}
