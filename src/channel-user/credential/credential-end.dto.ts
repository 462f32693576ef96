import { ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { MayBeAbsent } from '../../platform/api/validation.ts';
import { CredentialDto } from './credential.dto.ts';

/** A credential that was created with the password of another one, directly or indirectly. */
export class DescendantDto extends PickType(CredentialDto, [
  'id',
  'label',
  'fingerprint',
  'status',
  'createdAt',
  'lastUsedAt',
] as const) {}

const BOOLEANS = ['true', 'false'] as const;

export class RevokeCredentialQuery {
  @ApiPropertyOptional({
    enum: BOOLEANS,
    default: 'true',
    description:
      'Whether the credentials that the channel user created with this one end too, directly or indirectly. They end ' +
      'also if this one has ended before.',
  })
  @MayBeAbsent()
  @IsIn(BOOLEANS, { message: 'must be true or false' })
  includeDescendants?: (typeof BOOLEANS)[number];
}
