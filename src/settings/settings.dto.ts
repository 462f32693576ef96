import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn } from 'class-validator';
import { MayBeAbsent } from '../platform/api/validation.ts';
import { LOCAL_SIGN_INS, type LocalSignIn } from './settings.entity.ts';

export class SettingsDto {
  @ApiProperty({ description: 'Whether all staff need a second factor. Those without one can only set one up.' })
  secondFactorRequired!: boolean;

  @ApiProperty({
    enum: LOCAL_SIGN_INS,
    description: 'Who may sign in with a password: everybody who has one, or only break-glass admins.',
  })
  localSignIn!: LocalSignIn;

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

  @ApiPropertyOptional({
    enum: LOCAL_SIGN_INS,
    description:
      'Who may sign in with a password. `break-glass` can be chosen only in a session of single sign-on, and while a ' +
      'break-glass admin has a second factor.',
  })
  @MayBeAbsent()
  @IsIn(LOCAL_SIGN_INS, { message: `must be one of ${LOCAL_SIGN_INS.join(', ')}` })
  localSignIn?: LocalSignIn;
}
