import { ApiProperty } from '@nestjs/swagger';
import { AuditEventDto } from '../../audit/audit.dto.ts';
import { OwnActivityDto } from '../sign-in-log/sign-in-log.dto.ts';
import { CallErrorDto } from './calls.dto.ts';

const KINDS = ['sign-in', 'call', 'change'] as const;
export type RequestKind = (typeof KINDS)[number];

/** What became of a request, for whoever made it. */
export class RequestRecordDto {
  @ApiProperty({ format: 'uuid' })
  requestId!: string;

  @ApiProperty({ enum: KINDS, description: '`change`, what a successful request changed, is found by staff only.' })
  kind!: RequestKind;

  @ApiProperty({ type: String, format: 'date-time' })
  at!: Date;

  @ApiProperty({ description: 'What was asked.', example: 'GET /properties/:propertyId' })
  asked!: string;

  @ApiProperty({ description: 'What was answered.', example: '401 Unauthorized, auth.invalid-token' })
  answered!: string;

  @ApiProperty({ type: String, nullable: true, description: 'Why.', example: 'The token had expired.' })
  reason!: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'What to do about it.' })
  hint!: string | null;

  @ApiProperty({ type: OwnActivityDto, nullable: true, description: 'The sign-in, as `/me/activity` lists it.' })
  signIn!: OwnActivityDto | null;

  @ApiProperty({ type: CallErrorDto, nullable: true, description: 'The call, as `/me/errors` lists it.' })
  call!: CallErrorDto | null;
}

class RequestOwnerDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  username!: string;

  @ApiProperty()
  displayName!: string;
}

export class StaffRequestRecordDto extends RequestRecordDto {
  @ApiProperty({
    type: RequestOwnerDto,
    nullable: true,
    description: 'Whose request it was. `null` for a request of staff, and if the channel user was deleted.',
  })
  channelUser!: RequestOwnerDto | null;

  @ApiProperty({ type: [AuditEventDto], description: 'What the request changed: the first 50 events.' })
  events!: AuditEventDto[];
}
