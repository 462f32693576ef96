import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems } from '../platform/api/openapi.decorators.ts';
import { Public } from '../platform/api/security.ts';
import { PasswordLinkService } from './password-link.service.ts';
import { UsedPasswordLinkDto, UsePasswordLinkRequest } from './staff.dto.ts';
import { SYSTEM } from '../platform/common/principal.ts';

@Controller('admin/password-link')
@ApiTags('Staff')
export class PasswordLinkController {
  constructor(private readonly links: PasswordLinkService) {}

  @Post('use')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    operationId: 'usePasswordLink',
    summary: 'Choose a password with a one-time link; ends all sessions',
    description: "Called by the link's page. Opening the page alone does not use up the link.",
    security: [],
  })
  @ApiOkResponse({ type: UsedPasswordLinkDto })
  @ApiProblems(400, 410, 413, 415, 429, 503)
  use(
    @Body() request: UsePasswordLinkRequest,
    @Req() { id, clientAddress }: FastifyRequest,
  ): Promise<UsedPasswordLinkDto> {
    // Anyone can hold a link, so only the address is recorded, not a person.
    const caller = { ...SYSTEM, address: clientAddress ?? null, requestId: id };
    return this.links.use(request, caller);
  }
}
