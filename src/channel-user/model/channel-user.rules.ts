import { applyDecorators, Injectable, type PipeTransform } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsString, Matches, ValidateBy } from 'class-validator';
import { InvalidInputError } from '../../platform/common/errors.ts';
import { IsName, MayBeAbsent } from '../../platform/api/validation.ts';
import { parseNetworks } from '../../platform/config/networks.ts';

export const SCOPE = /^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$/;
export const ONE_DAY = 86_400;
export const TEN_YEARS = 10 * 365 * ONE_DAY;

export const IsNetwork = (): PropertyDecorator =>
  ValidateBy(
    {
      name: 'isNetwork',
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' && value !== '' && !/[\s,]/.test(value) && parseNetworks(value) !== undefined,
      },
    },
    { each: true, message: 'each must be an IP address or a CIDR network, such as 192.0.2.0/24 or 2001:db8::/32' },
  );

export const DisplayName = (): PropertyDecorator =>
  applyDecorators(ApiProperty({ minLength: 1, maxLength: 200, example: 'Blue Channel Manager' }), IsName(1, 200));

export const SelfService = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      default: true,
      description: 'Whether the channel user may rotate its passwords by itself (`POST /me/credentials`).',
    }),
    MayBeAbsent(),
    IsBoolean({ message: 'must be true or false' }),
  );

const USERNAME = /^[A-Za-z0-9._@-]{3,64}$/;
const OTHER = /[^A-Za-z0-9._@-]/u;
const USERNAME_RULE = 'must be 3 to 64 ASCII letters, digits or . _ - @';

/** States the rule and the first character that breaks it, since a space is easily overlooked. */
function usernameMessage(value: unknown): string {
  const text = typeof value === 'string' ? value : '';
  // NFC joins an accent with its letter. It replaces the Kelvin sign by a K, so the raw text is checked, too.
  const [other] = OTHER.exec(text.normalize('NFC')) ?? OTHER.exec(text) ?? [];
  if (other === undefined) return USERNAME_RULE;
  return `${USERNAME_RULE}; it contains ${/^\p{Zs}$/u.test(other) ? 'a space' : JSON.stringify(other)}`;
}

export const Username = (): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ minLength: 3, maxLength: 64, pattern: USERNAME.source, example: 'blue-channel' }),
    IsString({ message: 'must be text' }),
    Matches(USERNAME, { message: ({ value }) => usernameMessage(value) }),
  );

/** Checks a username in the path. */
@Injectable()
export class UsernamePipe implements PipeTransform {
  transform(value: string): string {
    if (USERNAME.test(value)) return value;
    throw new InvalidInputError([{ field: 'username', messages: [usernameMessage(value)] }]);
  }
}
