import { ApiProperty } from '@nestjs/swagger';

class ScopeDto {
  @ApiProperty({ example: 'calendar:write' })
  name!: string;

  @ApiProperty({ type: String, nullable: true })
  description!: string | null;

  @ApiProperty({ description: 'Whether something in the running application asks for it.' })
  declared!: boolean;

  @ApiProperty({ description: 'How many channel users have it, as of the last minute.' })
  grantedTo!: number;
}

export class ScopeListDto {
  @ApiProperty({ type: [ScopeDto], description: 'By name.' })
  items!: ScopeDto[];
}
