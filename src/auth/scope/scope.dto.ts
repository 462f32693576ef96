import { ApiProperty } from '@nestjs/swagger';

class ScopeDto {
  @ApiProperty({ example: 'calendar:write' })
  name!: string;

  @ApiProperty({ type: String, nullable: true })
  description!: string | null;

  @ApiProperty({ description: 'Whether the running application declares the scope.' })
  declared!: boolean;

  @ApiProperty({ description: 'How many channel users have the scope; up to a minute old.' })
  grantedTo!: number;
}

export class ScopeListDto {
  @ApiProperty({ type: [ScopeDto], description: 'Sorted by name.' })
  items!: ScopeDto[];
}
