import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { MayBeAbsent } from '../platform/api/validation.ts';

export class SettingsDto {
  @ApiProperty({ description: 'Whether all staff need a second factor. Those without one can only set one up.' })
  secondFactorRequired!: boolean;

  @ApiProperty({
    description:
      'The address that partners use, from the setting `PUBLIC_URL`. Read-only here; staff may use another address.',
  })
  publicUrl!: string;
}

export class UpdateSettingsRequest {
  @ApiPropertyOptional({
    description: 'Whether all staff need a second factor. Those without one can only set one up.',
  })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  secondFactorRequired?: boolean;
}
