import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { MANGLED_FRAGMENT, sendRepaired } from '../platform/http/mangled-link.ts';
import { Public } from '../platform/api/security.ts';
import { PASSWORD_LINK_PATH } from './password-link.service.ts';

/** Repairs password links whose `#` arrived as `%23`. */
@Controller()
@Public()
@ApiExcludeController()
export class MangledPasswordLinkController {
  @Get(`${PASSWORD_LINK_PATH}${MANGLED_FRAGMENT}`)
  beside(@Param('mangled') mangled: string, @Res() reply: FastifyReply): void {
    sendRepaired(reply, 'password-link', mangled);
  }

  @Get(`${PASSWORD_LINK_PATH}/${MANGLED_FRAGMENT}`)
  below(@Param('mangled') mangled: string, @Res() reply: FastifyReply): void {
    sendRepaired(reply, '../password-link', mangled);
  }
}
