import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems } from '../../platform/api/openapi.decorators.ts';
import { Public } from '../../platform/api/security.ts';
import { RevealedDto, RevealRequest } from './handover.dto.ts';
import { HandoverRevealService } from './handover-reveal.service.ts';

@Controller('handover')
@ApiTags('Hand-over')
export class HandoverController {
  constructor(private readonly handovers: HandoverRevealService) {}

  @Post('reveal')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    operationId: 'revealHandover',
    summary: 'Show the password behind a hand-over link, once',
    description:
      "Called by the link's page when the partner selects Reveal. Opening the page alone shows nothing and " +
      'does not use up the link.',
    security: [],
  })
  @ApiOkResponse({ type: RevealedDto })
  @ApiProblems(400, 410, 413, 415, 429, 503)
  reveal(@Body() { secret }: RevealRequest, @Req() { id, clientAddress }: FastifyRequest): Promise<RevealedDto> {
    return this.handovers.reveal(secret, { requestId: id, address: clientAddress });
  }
}
