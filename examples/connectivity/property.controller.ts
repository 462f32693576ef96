import { Body, Controller, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { type Actor, ApiProblems, CurrentActor, Roles, StaffApi, UuidPipe } from '../../src/extend.ts';
import { CalendarService } from './calendar.service.ts';
import {
  CalendarDto,
  CalendarQuery,
  CreatePropertyRequest,
  CreateRatePlanRequest,
  CreateRoomRequest,
  ListPropertiesQuery,
  PropertyDto,
  PropertyImagesRequest,
  PropertyPageDto,
  PropertyWithRoomsDto,
  RatePlanDto,
  RoomDto,
  RoomImagesRequest,
} from './property.dto.ts';
import { PropertyService } from './property.service.ts';

@Controller('admin')
@StaffApi('Properties')
export class PropertyController {
  constructor(
    private readonly properties: PropertyService,
    private readonly calendar: CalendarService,
  ) {}

  @Get('properties')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listProperties', summary: 'List the properties' })
  @ApiOkResponse({ type: PropertyPageDto })
  @ApiProblems(400)
  list(@Query() query: ListPropertiesQuery): Promise<PropertyPageDto> {
    return this.properties.list(query);
  }

  @Post('properties')
  @Roles('operator')
  @ApiOperation({ operationId: 'createProperty', summary: 'Create a property' })
  @ApiCreatedResponse({ type: PropertyDto })
  @ApiProblems(400, 413, 415)
  create(@Body() { name }: CreatePropertyRequest, @CurrentActor() actor: Actor): Promise<PropertyDto> {
    return this.properties.create(name, actor);
  }

  @Get('properties/:id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getProperty', summary: 'Show a property with its rooms and their rate plans' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: PropertyWithRoomsDto })
  @ApiProblems(404)
  get(@Param('id', UuidPipe) id: string): Promise<PropertyWithRoomsDto> {
    return this.properties.describe(id);
  }

  @Put('properties/:id/images')
  @Roles('operator')
  @ApiOperation({ operationId: 'setPropertyImages', summary: 'Set the images of a property' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: PropertyDto })
  @ApiProblems(400, 404, 413, 415)
  propertyImages(
    @Param('id', UuidPipe) id: string,
    @Body() { images }: PropertyImagesRequest,
    @CurrentActor() actor: Actor,
  ): Promise<PropertyDto> {
    return this.properties.setImages('property', id, images, actor);
  }

  @Post('properties/:id/rooms')
  @Roles('operator')
  @ApiOperation({ operationId: 'createRoom', summary: 'Create a room of a property' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiCreatedResponse({ type: RoomDto })
  @ApiProblems(400, 404, 409, 413, 415)
  createRoom(
    @Param('id', UuidPipe) id: string,
    @Body() request: CreateRoomRequest,
    @CurrentActor() actor: Actor,
  ): Promise<RoomDto> {
    return this.properties.createRoom(id, request, actor);
  }

  @Put('rooms/:id/images')
  @Roles('operator')
  @ApiOperation({ operationId: 'setRoomImages', summary: 'Set the images of a room' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: RoomDto })
  @ApiProblems(400, 404, 413, 415)
  roomImages(
    @Param('id', UuidPipe) id: string,
    @Body() { images }: RoomImagesRequest,
    @CurrentActor() actor: Actor,
  ): Promise<RoomDto> {
    return this.properties.setImages('room', id, images, actor) as Promise<RoomDto>;
  }

  @Post('rooms/:id/rate-plans')
  @Roles('operator')
  @ApiOperation({ operationId: 'createRatePlan', summary: 'Create a rate plan of a room' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiCreatedResponse({ type: RatePlanDto })
  @ApiProblems(400, 404, 413, 415)
  createRatePlan(
    @Param('id', UuidPipe) id: string,
    @Body() { name }: CreateRatePlanRequest,
    @CurrentActor() actor: Actor,
  ): Promise<RatePlanDto> {
    return this.properties.createRatePlan(id, name, actor);
  }

  @Get('rooms/:id/calendar')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getRoomCalendar', summary: 'Show what partners set for a room, for one year' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: CalendarDto })
  @ApiProblems(400, 404)
  async roomCalendar(@Param('id', UuidPipe) id: string, @Query() { from }: CalendarQuery): Promise<CalendarDto> {
    await this.properties.room(id);
    return this.calendar.yearOf(id, from);
  }
}
