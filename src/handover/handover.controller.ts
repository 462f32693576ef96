import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems } from '../common/api.ts';
import { Public } from '../common/security.ts';
import { RevealedDto, RevealRequest } from './handover.dto.ts';
import { HandoverService } from './handover.service.ts';

@Controller('handover')
@ApiTags('Hand-over')
export class HandoverController {
  constructor(private readonly handovers: HandoverService) {}

  @Post('reveal')
  @Public()
  @HttpCode(200)
  @ApiOperation({
    operationId: 'revealHandover',
    summary: 'Show the password behind a hand-over link, once',
    description: 'What the page of the link does on Reveal. Opening the page shows nothing and uses nothing up.',
    security: [],
  })
  @ApiOkResponse({ type: RevealedDto })
  @ApiProblems(400, 410, 413, 415, 429, 503)
  reveal(@Body() { secret }: RevealRequest, @Req() { id, clientAddress }: FastifyRequest): Promise<RevealedDto> {
    return this.handovers.reveal(secret, { requestId: id, address: clientAddress });
  }
}
