import { randomUUID } from 'node:crypto';
import { toDto } from '../../platform/api/validation.ts';
import type { FieldError } from '../../platform/common/errors.ts';
import type { ChannelUserService } from '../channel-user.service.ts';
import { ImportRow } from './import.dto.ts';
import { type RawRow, withFound } from './raw-row.ts';
import { inTurns } from './iteration.ts';

export interface CheckedRow {
  readonly row: number;
  readonly request: ImportRow;
  readonly usernameKey: string;
}

export const bcryptWarning = (rows: number): string =>
  `Rows with a bcrypt hash: ${String(rows)}. bcrypt ignores everything after the first 72 bytes, so these ` +
  'partners cannot sign in with a longer password. Give a partner with a longer password a generated one.';

export const TAKEN: FieldError = { field: 'username', messages: ['is taken'] };

/**
 * Checks rows, and lets the event loop serve other requests in between.
 *
 * @param wrong gets the errors of the rows that are left out
 */
export async function checkRows(
  batch: readonly RawRow[],
  wrong: Map<number, readonly FieldError[]>,
  channelUsers: ChannelUserService,
): Promise<CheckedRow[]> {
  const checked: CheckedRow[] = [];
  for await (const { row, fields, error } of inTurns(batch)) {
    if (error) {
      wrong.set(row, [error]);
      continue;
    }
    const { value: request, errors } = toDto(fields, ImportRow);
    if (errors.length > 0) wrong.set(row, withFound(errors, fields));
    else checked.push({ row, request, usernameKey: channelUsers.keyOf(request.username) });
  }
  return checked;
}

/** The row of `channel_user` for an imported row, including the status from an export. */
export function accountOf(
  { password: _password, passwordHash: _passwordHash, status, createdAt, lastTokenAt, ...description }: ImportRow,
  channelUsers: ChannelUserService,
) {
  const described = channelUsers.fromRequest(description);
  const state = {
    id: randomUUID(),
    suspendedAt: status === 'suspended' ? described.createdAt : null,
    ...(createdAt !== undefined && { createdAt: new Date(createdAt) }),
  };
  return { ...channelUsers.columnsOf({ ...described, ...state }), last_token_at: lastTokenAt ?? null };
}
