import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn } from 'class-validator';
import { type Role, ROLES } from '../common/request-context.ts';
import { IsEmailAddress, IsPlainText, MayBeAbsent } from '../common/validation.ts';

const IsRole = (): PropertyDecorator => IsIn(ROLES, { message: `must be one of ${ROLES.join(', ')}` });

export class CreateStaffRequest {
  @ApiProperty({ format: 'email', maxLength: 254, example: 'mia@connectivity.example' })
  @IsEmailAddress()
  email!: string;

  @ApiProperty({ minLength: 1, maxLength: 200, example: 'Mia Berg' })
  @IsPlainText(1, 200)
  name!: string;

  @ApiProperty({ enum: ROLES })
  @IsRole()
  role!: Role;
}

export class UpdateStaffRequest {
  @ApiPropertyOptional({ minLength: 1, maxLength: 200 })
  @MayBeAbsent()
  @IsPlainText(1, 200)
  name?: string;

  @ApiPropertyOptional({ enum: ROLES, description: 'A change ends the sessions of this person.' })
  @MayBeAbsent()
  @IsRole()
  role?: Role;
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

  @ApiProperty({ description: 'Whether signing in takes a second factor.' })
  secondFactor!: boolean;
}

class SessionLifeDto {
  @ApiProperty({ type: String, format: 'date-time' })
  expiresAt!: Date;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    description: 'A session in a cookie ends when it is not used for so many seconds (up to a minute earlier).',
  })
  idleSeconds!: number | null;
}

export class CurrentSessionDto extends StaffDto {
  @ApiProperty()
  session!: SessionLifeDto;

  @ApiProperty({ description: 'A second factor is required of all, and this person has yet to set one up.' })
  enrolmentRequired!: boolean;
}

export class NewStaffDto extends StaffDto {
  @ApiProperty({ description: 'Shown this once; nobody can read it again.' })
  password!: string;
}

export class StaffListDto {
  @ApiProperty({ type: [StaffDto] })
  items!: StaffDto[];
}

export class SignInRequest {
  @ApiProperty({ example: 'mia@connectivity.example' })
  @IsPlainText(1, 254)
  email!: string;

  @ApiProperty()
  @IsPlainText(1, 256)
  password!: string;

  @ApiPropertyOptional({
    description: 'The second factor, where one is set up: a code of the authenticator, or a recovery code.',
  })
  @MayBeAbsent()
  @IsPlainText(1, 32)
  code?: string;

  @ApiPropertyOptional({ default: false, description: 'A cookie instead of a token in the body, for the console.' })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  cookie?: boolean;
}

export class SessionAnswer {
  @ApiPropertyOptional({ description: 'Absent when the session is in a cookie.' })
  accessToken?: string;

  @ApiProperty({ enum: ['Bearer'] })
  tokenType!: 'Bearer';

  @ApiProperty({ description: 'Seconds.' })
  expiresIn!: number;

  @ApiPropertyOptional({ type: 'integer', description: 'With `cookie: true`: how long the session may be unused.' })
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
  @ApiProperty({ example: '287082', description: 'A code of the authenticator that has the new secret.' })
  @IsPlainText(1, 32)
  code!: string;
}

export class TotpSecretDto {
  @ApiProperty({ description: 'In base32, for typing.' })
  secret!: string;

  @ApiProperty({ format: 'uri', description: 'The same as `otpauth://` URI, for a QR code.' })
  uri!: string;
}

export class RecoveryCodesDto {
  @ApiProperty({ type: [String], minItems: 10, maxItems: 10, description: 'Shown this once. Each signs in once.' })
  recoveryCodes!: string[];
}

export class ChangePasswordRequest {
  @ApiProperty()
  @IsPlainText(1, 256)
  currentPassword!: string;

  @ApiProperty({ minLength: 12, maxLength: 256 })
  @IsPlainText(12, 256)
  newPassword!: string;
}
