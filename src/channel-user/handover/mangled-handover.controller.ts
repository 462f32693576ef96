import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { MANGLED_FRAGMENT, sendRepaired } from '../../platform/http/mangled-link.ts';
import { Public } from '../../platform/api/security.ts';

/** Repairs hand-over links whose `#` arrived as `%23`. */
@Controller()
@Public()
@ApiExcludeController()
export class MangledHandoverController {
  @Get(`handover${MANGLED_FRAGMENT}`)
  beside(@Param('mangled') mangled: string, @Res() reply: FastifyReply): void {
    sendRepaired(reply, 'handover', mangled);
  }

  @Get(`handover/${MANGLED_FRAGMENT}`)
  below(@Param('mangled') mangled: string, @Res() reply: FastifyReply): void {
    sendRepaired(reply, '../handover', mangled);
  }
}
