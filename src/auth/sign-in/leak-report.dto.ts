import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { ValidateBy } from 'class-validator';
import { isCredentialText } from '../../platform/http/form-body.ts';

/** What `/generateToken` accepts as a username or a password. */
const CredentialText = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ minLength: 1, maxLength: 256, description }),
    ValidateBy({
      name: 'isCredentialText',
      validator: {
        validate: (value: unknown) => typeof value === 'string' && value.isWellFormed() && isCredentialText(value),
        defaultMessage: () => 'must be text of 1 to 256 characters without control characters',
      },
    }),
  );

export class LeakReportRequest {
  @CredentialText('Case-insensitive.')
  username!: string;

  @CredentialText('The leaked password. It works as proof while it is live, and for 30 days after its end.')
  password!: string;
}
