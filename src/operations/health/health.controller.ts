import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Lifecycle } from '../../platform/common/lifecycle.ts';
import { Public } from '../../platform/api/security.ts';
import { HealthService } from './health.service.ts';

/** Probes. The status is the result, the body gives the reason. Public, so the body names no host and no account. */
@Controller('health')
@Public()
@ApiExcludeController()
export class HealthController {
  constructor(
    private readonly health: HealthService,
    private readonly lifecycle: Lifecycle,
  ) {}

  /** Answers as long as the process is alive. Checks nothing that a restart would not repair. */
  @Get('live')
  live(): { status: 'ok' } {
    return { status: 'ok' };
  }

  /** Whether startup is complete: everything is initialised and every listener is open. Never reverts. */
  @Get('startup')
  startup(@Res({ passthrough: true }) reply: FastifyReply): { status: 'ok' | 'starting' } {
    if (this.lifecycle.state !== 'starting') return { status: 'ok' };
    void reply.status(503);
    return { status: 'starting' };
  }

  /** Whether this instance should get requests. */
  @Get('ready')
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    const result = await this.health.readiness();
    if (result.status !== 'ok' && result.status !== 'degraded') void reply.status(503);
    return result;
  }
}
