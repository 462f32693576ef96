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

export class StaffDto {
  @ApiProperty({ format: 'uuid' })
  id!: string;

  @ApiProperty({ format: 'email' })
  email!: string;

  @ApiProperty()
  name!: string;

  @ApiProperty({ enum: ROLES })
  role!: Role;

  @ApiProperty({ type: String, format: 'date-time' })
  createdAt!: Date;

  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastSignInAt!: Date | null;
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

  @ApiPropertyOptional({ description: 'The second factor, where one is set up.' })
  @MayBeAbsent()
  @IsPlainText(1, 32)
  code?: string;

  @ApiPropertyOptional({ default: false, description: 'A cookie instead of a token in the body, for the console.' })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  cookie?: boolean;
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

export class SessionAnswer {
  @ApiPropertyOptional({ description: 'Absent when the session is in a cookie.' })
  accessToken?: string;

  @ApiProperty({ enum: ['Bearer'] })
  tokenType!: 'Bearer';

  @ApiProperty({ description: 'Seconds.' })
  expiresIn!: number;

  @ApiProperty()
  staff!: SignedInStaffDto;
}

export class ChangePasswordRequest {
  @ApiProperty()
  @IsPlainText(1, 256)
  currentPassword!: string;

  @ApiProperty({ minLength: 12, maxLength: 256 })
  @IsPlainText(12, 256)
  newPassword!: string;
}
