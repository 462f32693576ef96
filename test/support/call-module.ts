import { Body, Controller, Get, Module, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { AnyPartner, Granted, Scopes } from '../../src/platform/api/security.ts';
import { AppError, UnavailableError } from '../../src/platform/common/errors.ts';
import { GrantModule } from '../../src/channel-user/grant/grant.module.ts';
import { IsName } from '../../src/platform/api/validation.ts';

class NewBoat {
  @IsName(1, 80)
  name!: string;
}

/** A handler that waits, for a client that hangs up. */
export const slowCall = { begun: Promise.withResolvers<undefined>(), end: Promise.withResolvers<undefined>() };

/** Routes of a module, as partners call them: with values in the path, the query and the body. */
@Controller('boats')
@AnyPartner()
class BoatController {
  @Get(':name')
  get(@Param('name') name: string, @Query() query: Record<string, string>): unknown {
    return { name, query };
  }

  @Post()
  @Scopes('boat:write')
  create(@Body() boat: NewBoat): unknown {
    return boat;
  }

  @Get(':boatId/crew')
  @Granted('boat', 'boatId')
  crew(): unknown {
    return {};
  }

  @Get('broken/engine')
  engine(): never {
    throw new Error('The engine has stopped.');
  }

  @Get('broken/rudder')
  rudder(): never {
    throw new UnavailableError();
  }

  @Get('broken/compass')
  compass(): never {
    throw new AppError({ status: 422, code: 'boat.compass', detail: 'The compass of s3cret-boat is broken.' });
  }

  @Get('broken/anchor')
  anchor(@Res() reply: FastifyReply): void {
    void reply.status(418).send('no error of Latchkey');
  }

  @Get('slow/crossing')
  async crossing(): Promise<unknown> {
    slowCall.begun.resolve(undefined);
    await slowCall.end.promise;
    return {};
  }
}

/** More routes than are counted by name. */
@Controller('islands')
@AnyPartner()
class IslandController {}
export const ISLANDS = 55;
for (let i = 0; i < ISLANDS; i++) {
  const name = `island${String(i)}`;
  const descriptor = { value: () => ({ island: i }) };
  Object.defineProperty(IslandController.prototype, name, { ...descriptor, writable: true });
  Get(String(i))(IslandController.prototype, name, descriptor);
}

@Module({ imports: [GrantModule], controllers: [BoatController, IslandController] })
export class CallModule {}
