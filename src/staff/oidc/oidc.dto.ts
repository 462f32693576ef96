import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { IsPlainText, MayBeAbsent } from '../../platform/api/validation.ts';
import { LOCAL_SIGN_INS, type LocalSignIn } from '../../settings/settings.entity.ts';

const FLAGS = ['true', 'false'] as const;

export class BeginSignInQuery {
  @ApiPropertyOptional({
    example: '/console/channel-users',
    description: 'The page of the console to show afterwards. Anything else leads to its start.',
  })
  @MayBeAbsent()
  @IsPlainText(1, 2_000)
  from?: string;

  @ApiPropertyOptional({
    enum: FLAGS,
    default: 'false',
    description: '`true`: for a window that closes itself and tells the console through a BroadcastChannel.',
  })
  @MayBeAbsent()
  @IsIn(FLAGS, { message: 'must be true or false' })
  popUp?: (typeof FLAGS)[number];
}

class SingleSignOnDto {
  @ApiProperty({ example: 'Company Login', description: 'What staff call the identity provider.' })
  name!: string;

  @ApiProperty({ example: '/admin/session/oidc', description: 'Where a browser begins the sign-in.' })
  path!: string;
}

export class SignInMethodsDto {
  @ApiProperty({ type: SingleSignOnDto, nullable: true, description: '`null` without an identity provider.' })
  singleSignOn!: SingleSignOnDto | null;

  @ApiProperty({ enum: LOCAL_SIGN_INS, description: 'Who may sign in with a password.' })
  localSignIn!: LocalSignIn;
}
