import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { MayBeAbsent } from '../common/validation.ts';

export class SettingsDto {
  @ApiProperty({ description: 'Staff without a second factor can do nothing but set one up.' })
  secondFactorRequired!: boolean;
}

export class UpdateSettingsRequest {
  @ApiPropertyOptional({ description: 'Staff without a second factor can do nothing but set one up.' })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  secondFactorRequired?: boolean;
}
