import { Body, Controller, Delete, Get, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems, PartnerApi } from '../../platform/api/openapi.decorators.ts';
import { AnyPartner, CurrentChannelUser } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../../platform/common/principal.ts';
import {
  CreateOwnCredentialRequest,
  EndOwnCredentialRequest,
  IssuedOwnCredentialDto,
  OwnCredentialDto,
  OwnCredentialListDto,
  WithdrawOwnCredentialRequest,
} from './own-credential.dto.ts';
import { OwnCredentialService } from './own-credential.service.ts';

const WRONG_PASSWORD =
  'A wrong password is 400 `credential.wrong-password`; it is checked, delayed and throttled like a sign-in.';

@Controller('me/credentials')
@AnyPartner()
@PartnerApi('Own account')
export class OwnCredentialController {
  constructor(private readonly credentials: OwnCredentialService) {}

  @Get()
  @ApiOperation({
    operationId: 'listOwnCredentials',
    summary: 'List your passwords by fingerprint, newest first, in the order and words that your contact sees',
  })
  @ApiOkResponse({ type: OwnCredentialListDto })
  async list(@CurrentChannelUser() channelUser: ChannelUserPrincipal): Promise<OwnCredentialListDto> {
    return { items: await this.credentials.list(channelUser) };
  }

  @Post()
  @ApiOperation({
    operationId: 'createOwnCredential',
    summary: 'Rotate: create a new password, shown once here',
    description:
      'Your other passwords go on until you have used the new one, and `overlapSeconds` after that. While a password ' +
      'waits for its first use, another rotation is 409 `credential.rotation-pending`; the problem has its ' +
      '`credentialId`, `pendingSince`, `startedBy` and, if you began it, how to `withdraw` it. More than 5 live ones ' +
      'are 409 `credential.too-many`. 403 `credential.self-service-off`: only your contact creates passwords. ' +
      WRONG_PASSWORD,
  })
  @ApiCreatedResponse({ type: IssuedOwnCredentialDto })
  @ApiProblems(400, 409, 413, 415, 429)
  create(
    @CurrentChannelUser() channelUser: ChannelUserPrincipal,
    @Body() body: CreateOwnCredentialRequest,
    @Req() request: FastifyRequest,
  ): Promise<IssuedOwnCredentialDto> {
    return this.credentials.create(channelUser, body, request);
  }

  @Post(':id/withdraw')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'withdrawOwnCredential',
    summary: 'Withdraw a pending password that you created; the others go on',
    description:
      'A rotation that your contact or Latchkey began is 403 `credential.rotation-by-staff`. A password that is not ' +
      `pending is 409 \`credential.not-pending\`. ${WRONG_PASSWORD}`,
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: OwnCredentialDto })
  @ApiProblems(400, 404, 409, 413, 415, 429)
  withdraw(
    @CurrentChannelUser() channelUser: ChannelUserPrincipal,
    @Param('id', UuidPipe) id: string,
    @Body() body: WithdrawOwnCredentialRequest,
    @Req() request: FastifyRequest,
  ): Promise<OwnCredentialDto> {
    return this.credentials.withdraw(channelUser, id, body, request);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'endOwnCredential',
    summary: 'End one of your passwords and the tokens it obtained, at once',
    description:
      'The body has the very password that is ended. The last active one is 409 `credential.last-active`. A pending ' +
      'one that your contact or Latchkey created is 403 `credential.rotation-by-staff`. Ending a password twice ' +
      `changes nothing. ${WRONG_PASSWORD}`,
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404, 409, 413, 415, 429)
  end(
    @CurrentChannelUser() channelUser: ChannelUserPrincipal,
    @Param('id', UuidPipe) id: string,
    @Body() body: EndOwnCredentialRequest,
    @Req() request: FastifyRequest,
  ): Promise<void> {
    return this.credentials.end(channelUser, id, body, request);
  }
}
