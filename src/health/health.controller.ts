import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Lifecycle } from '../common/lifecycle.ts';
import { Public } from '../common/security.ts';
import { HealthService } from './health.service.ts';

/** Probes: their status says it, their body says why. Nobody signs in here, so nothing in it names a host or an account. */
@Controller('health')
@Public()
@ApiExcludeController()
export class HealthController {
  constructor(
    private readonly health: HealthService,
    private readonly lifecycle: Lifecycle,
  ) {}

  /** That it is answered says that the process lives and its event loop turns. Nothing that a restart cannot mend counts. */
  @Get('live')
  live(): { status: 'ok' } {
    return { status: 'ok' };
  }

  /** Whether everything is initialised and every listener open; from then on it stays so. */
  @Get('startup')
  startup(@Res({ passthrough: true }) reply: FastifyReply): { status: 'ok' | 'starting' } {
    if (this.lifecycle.state !== 'starting') return { status: 'ok' };
    void reply.status(503);
    return { status: 'starting' };
  }

  /** Whether requests should be sent here. */
  @Get('ready')
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    const result = await this.health.readiness();
    if (result.status !== 'ok' && result.status !== 'degraded') void reply.status(503);
    return result;
  }
}
