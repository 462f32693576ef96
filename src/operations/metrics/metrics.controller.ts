import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../../platform/api/security.ts';
import { MetricsService } from './metrics.service.ts';

@Controller('metrics')
@Public()
@ApiExcludeController()
export class MetricsController {
  constructor(private readonly metrics: MetricsService) {}

  /** All metrics in Prometheus' text format 0.0.4. */
  @Get()
  async scrape(@Res() reply: FastifyReply): Promise<void> {
    const text = await this.metrics.scrape();
    await reply.type(this.metrics.contentType).send(text);
  }
}
