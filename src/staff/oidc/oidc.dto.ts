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

  @ApiProperty({ example: '/admin/session/oidc', description: 'Where a window beside the console begins a sign-in.' })
  path!: string;

  @ApiProperty({
    format: 'uri',
    example: 'https://staff.latchkey.example/admin/session/oidc',
    description:
      'Where a browser begins a sign-in: at the address of the console, `ADMIN_URL`. The provider sends it back there, ' +
      'and it then needs the cookie of the beginning.',
  })
  url!: string;
}

export class SignInMethodsDto {
  @ApiProperty({ type: SingleSignOnDto, nullable: true, description: '`null` without an identity provider.' })
  singleSignOn!: SingleSignOnDto | null;

  @ApiProperty({ enum: LOCAL_SIGN_INS, description: 'Who may sign in with a password.' })
  localSignIn!: LocalSignIn;
}
