import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional, IntersectionType, PartialType } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsString, Matches } from 'class-validator';
import { type Role, ROLES } from '../platform/common/principal.ts';
import { StaffIdentityDto } from './staff-identity.dto.ts';
import { STAFF_FAILURE_REASONS, type StaffFailureReason } from './staff-failure.entity.ts';
import { IsEmailAddress, IsName, IsPlainText, MayBeAbsent, Tidied } from '../platform/api/validation.ts';

const DELIVERIES = ['password', 'link'] as const;

const Deliver = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      enum: DELIVERIES,
      default: 'password',
      description:
        '`link`: the response contains a one-time link where the colleague chooses a password that nobody else sees.',
    }),
    MayBeAbsent(),
    IsIn(DELIVERIES, { message: `must be one of ${DELIVERIES.join(', ')}` }),
  );

const IsNewPassword = (): PropertyDecorator =>
  applyDecorators(ApiProperty({ minLength: 12, maxLength: 256 }), IsPlainText(12, 256));

const IsRole = (): PropertyDecorator => IsIn(ROLES, { message: `must be one of ${ROLES.join(', ')}` });

export class CreateStaffRequest {
  @ApiProperty({ format: 'email', maxLength: 254, example: 'mia@connectivity.example' })
  @IsEmailAddress()
  email!: string;

  @ApiProperty({ minLength: 1, maxLength: 200, example: 'Mia Berg' })
  @IsName(1, 200)
  name!: string;

  @ApiProperty({ enum: ROLES })
  @IsRole()
  role!: Role;

  @Deliver()
  deliver?: (typeof DELIVERIES)[number];
}

export class ResetPasswordRequest {
  @Deliver()
  deliver?: (typeof DELIVERIES)[number];
}

export class UpdateStaffRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 200 })
  @MayBeAbsent()
  @IsName(1, 200)
  name?: string;

  @ApiPropertyOptional({ enum: ROLES, description: 'A change ends all sessions of this person.' })
  @MayBeAbsent()
  @IsRole()
  role?: Role;

  @ApiPropertyOptional({
    description:
      'Whether this admin may sign in with a password even if all others may not. At most three accounts; they must ' +
      'have a second factor.',
  })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  breakGlass?: boolean;
}

class SignedInStaffDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'email' })
  email!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ enum: ROLES })
  role!: Role;
}

export class StaffDto extends SignedInStaffDto {
  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastSignInAt!: Date | null;

  @ApiProperty({ description: 'Whether the person has set up a second factor.' })
  secondFactor!: boolean;

  @ApiProperty({
    type: StaffIdentityDto,
    nullable: true,
    description: 'With which identity the person signs in at the identity provider. `null`: with a password.',
  })
  identity!: StaffIdentityDto | null;

  @ApiProperty({ description: 'Whether this admin may sign in with a password even if all others may not.' })
  breakGlass!: boolean;
}

class SessionLifeDto {
  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    description:
      'Seconds without use after which a cookie session ends (up to a minute earlier). `null` for a session with ' +
      'a token.',
  })
  idleSeconds!: number | null;
}

export class CurrentSessionDto extends StaffDto {
  @ApiProperty()
  session!: SessionLifeDto;

  @ApiProperty({ description: 'Whether this person must set up a second factor before doing anything else.' })
  enrolmentRequired!: boolean;
}

export class PasswordLinkDto {
  /** The secret is in the fragment, which browsers do not send. */
  @ApiProperty({ format: 'uri', example: 'https://partners.example/console/password-link#wUmYgRcXHBhD9cPCrlrYDLP1' })
  link!: string;

  @ApiProperty({ type: String, format: 'date-time', description: 'When the link expires. It works only once.' })
  linkExpiresAt!: Date;
}

/** The answer to creating an account or resetting its password, which shows the secret once. */
export class NewStaffDto extends IntersectionType(StaffDto, PartialType(PasswordLinkDto)) {
  @ApiPropertyOptional({
    description: 'Present with `deliver: "password"`. Shown only in this response; nobody can read it again.',
  })
  password?: string;
}

export class UsePasswordLinkRequest {
  @ApiProperty({
    pattern: '^[A-Za-z0-9_-]{43}$',
    example: 'wUmYgRcXHBhD9cPCrlrYDLP1UnTZCwkqNR8vJLxRI5o',
    description: 'The part of the link after the #.',
  })
  @IsString({ message: 'must be text' })
  @Matches(/^[A-Za-z0-9_-]{43}$/, { message: 'must be the 43 characters that follow the # of the link' })
  secret!: string;

  @IsNewPassword()
  newPassword!: string;
}

export class UsedPasswordLinkDto {
  @ApiProperty({ format: 'email', description: 'The e-mail that signs in with the new password.' })
  email!: string;
}

export class StaffListDto {
  @ApiProperty({ type: [StaffDto] })
  items!: StaffDto[];
}

class FailedStaffDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ format: 'email' })
  email!: string;
}

export class StaffFailureDto {
  @ApiProperty()
  staff!: FailedStaffDto;

  @ApiProperty({
    type: String,
    format: 'date-time',
    description: 'Start of the hour. All failures of one kind within an hour share one item.',
  })
  hour!: Date;

  @ApiProperty({ enum: STAFF_FAILURE_REASONS })
  reason!: StaffFailureReason;

  @ApiProperty()
  count!: number;

  @ApiProperty({ type: String, format: 'date-time' })
  lastAt!: Date;

  @ApiProperty({ type: String, nullable: true, description: 'Address of the last attempt.' })
  lastAddress!: string | null;
}

export class StaffFailureListDto {
  @ApiProperty({ type: [StaffFailureDto], description: 'At most 200, newest first.' })
  items!: StaffFailureDto[];
}

export class SignInRequest {
  @ApiProperty({ example: 'mia@connectivity.example' })
  @Tidied()
  @IsPlainText(1, 254)
  email!: string;

  @ApiProperty()
  @IsPlainText(1, 256)
  password!: string;

  @ApiPropertyOptional({
    description: 'Needed if the account has a second factor: a code from the authenticator, or a recovery code.',
  })
  @MayBeAbsent()
  @IsPlainText(1, 32)
  code?: string;

  @ApiPropertyOptional({
    default: false,
    description: '`true` puts the session in a cookie instead of returning a token, as the console needs it.',
  })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  cookie?: boolean;
}

export class SessionDto {
  @ApiPropertyOptional({ description: 'Absent with `cookie: true`.' })
  accessToken?: string;

  @ApiProperty({ enum: ['Bearer'] })
  tokenType!: 'Bearer';

  @ApiProperty({ description: 'In seconds.' })
  expiresIn!: number;

  @ApiPropertyOptional({
    type: 'integer',
    description: 'Present with `cookie: true`: seconds without use after which the session ends.',
  })
  idleSeconds?: number;

  @ApiProperty()
  staff!: SignedInStaffDto;
}

export class CurrentPasswordRequest {
  @ApiProperty()
  @IsPlainText(1, 256)
  currentPassword!: string;
}

export class ConfirmTotpRequest {
  @ApiProperty({ example: '287082', description: 'A code from the authenticator with the new secret.' })
  @IsPlainText(1, 32)
  code!: string;
}

export class TotpSecretDto {
  @ApiProperty({ description: 'The secret in base32, for typing.' })
  secret!: string;

  @ApiProperty({ format: 'uri', description: 'The same secret as an `otpauth://` URI, for a QR code.' })
  uri!: string;
}

export class RecoveryCodesDto {
  @ApiProperty({
    type: [String],
    minItems: 10,
    maxItems: 10,
    description: 'Shown only in this response. Each code works once.',
  })
  recoveryCodes!: string[];
}

export class ChangePasswordRequest {
  @ApiProperty()
  @IsPlainText(1, 256)
  currentPassword!: string;

  @IsNewPassword()
  newPassword!: string;
}
