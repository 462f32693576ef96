import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { MayBeAbsent } from '../common/validation.ts';

export class SettingsDto {
  @ApiProperty({ description: 'Staff without a second factor can do nothing but set one up.' })
  secondFactorRequired!: boolean;

  @ApiProperty({
    description: 'Where partners call; staff may come in elsewhere. `PUBLIC_URL`: it is not changed here.',
  })
  publicUrl!: string;
}

export class UpdateSettingsRequest {
  @ApiPropertyOptional({ description: 'Staff without a second factor can do nothing but set one up.' })
  @MayBeAbsent()
  @IsBoolean({ message: 'must be true or false' })
  secondFactorRequired?: boolean;
}
