import { Body, Controller, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import {
  ApiProblems,
  type ChannelUserPrincipal,
  CurrentChannelUser,
  Granted,
  PartnerApi,
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
@PartnerApi('Content')
export class ContentController {
  constructor(private readonly properties: PropertyService) {}

  @Post('getRooms')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('property', 'propertyId')
  @ApiOperation({ operationId: 'getRooms', summary: 'List the rooms of a property' })
  @ApiOkResponse({ type: [RoomItemDto] })
  @ApiProblems(400, 404)
  rooms(@Query() { propertyId }: PropertyQuery): Promise<RoomItemDto[]> {
    return this.properties.roomsOf(propertyId);
  }

  @Post('returnRatePlan')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('room', 'roomId')
  @ApiOperation({ operationId: 'returnRatePlan', summary: 'List the rate plans of a room' })
  @ApiOkResponse({ type: [RatePlanItemDto] })
  @ApiProblems(400, 404)
  async ratePlans(@Query() { roomId }: RoomQuery): Promise<RatePlanItemDto[]> {
    return (await this.properties.ratePlansOf(roomId)).map(({ id, name }) => ({ id, rate_name: name }));
  }

  @Post('getApiRoomImages')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('room', 'roomId')
  @ApiOperation({ operationId: 'getApiRoomImages', summary: 'List the image URLs of a room' })
  @ApiOkResponse({ type: RoomImagesDto })
  @ApiProblems(400, 404, 413, 415)
  async roomImages(@Body() { roomId }: RoomQuery): Promise<RoomImagesDto> {
    return { imgPath: (await this.properties.room(roomId)).images };
  }

  @Post('getApiPropertyImages')
  @HttpCode(200)
  @Scopes(CONTENT_READ)
  @Granted('property', 'propertyId')
  @ApiOperation({ operationId: 'getApiPropertyImages', summary: 'List the image URLs of a property' })
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
    summary: 'Set the quantity of a room and its number of guests',
    description:
      '`true`: the room now has these numbers. `false`: the numbers are inconsistent, and nothing was changed. Adults and ' +
      'children must each be at most the number of guests, and their sum at least that number. 409 names a day, today in UTC or later, on which more units are free than the new quantity.',
  })
  @ApiOkResponse({ schema: { type: 'boolean' } })
  @ApiProblems(400, 404, 409, 413, 415)
  connectivity(
    @Body() request: RoomConnectivityRequest,
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
  ): Promise<boolean> {
    return this.properties.pushRoom(request, id);
  }
}
