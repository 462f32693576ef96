import { wasTooMany } from './sign-in-attempt.entity.ts';
import type { ActivityDto, OwnActivityDto } from './sign-in-log.dto.ts';

/** What happened and what a partner can do about it, each in one or two sentences. */
export interface Explanation {
  readonly reason: string;
  readonly hint: string;
}

/** The reasons of sign-ins in words for the partner itself, who may know the true ones of its own account. */
const REASONS: Record<string, Explanation> = {
  wrong_password: {
    reason: 'The password was wrong.',
    hint: 'Compare the password that your software sends with the newest one you were given. If you have lost it, ask your contact for a new one.',
  },
  revoked_credential: {
    reason: 'The password was revoked, or withdrawn before its first use.',
    hint: 'Give your software a password that works: GET /me/credentials and the partner’s page list yours by fingerprint. If you hold none of them, ask your contact for a new one.',
  },
  credential_expired: {
    reason: 'The password has expired.',
    hint: 'Use the newest password you were given, or ask your contact for a new one.',
  },
  address_not_allowed: {
    reason: 'The password was right, but the address is not on the list of addresses that your account may use.',
    hint: 'Call from an address on the list, or ask your contact to add this one.',
  },
  account_suspended: {
    reason: 'The account was suspended.',
    hint: 'Ask your contact why. Your password works again once the account is reactivated.',
  },
  account_expired: {
    reason: 'The account has expired.',
    hint: 'Ask your contact to extend it.',
  },
  no_proof: {
    reason: 'The password was right, but it did not prove the right to this change.',
    hint: 'A new password is created with an active one, and a password is ended with itself.',
  },
  not_checked: {
    reason: 'The password was not checked, because too many attempts came before or too many checks were waiting.',
    hint: 'The password may be right. Wait as long as the Retry-After header says, then try again.',
  },
  password_too_long: {
    reason: 'The password is longer than 72 bytes, which an imported password of this kind cannot be.',
    hint: 'Ask your contact for a new password.',
  },
  issuance_limit: {
    reason: 'More tokens were requested than the account may have in a minute.',
    hint: 'Keep a token and reuse it until shortly before it expires, instead of requesting one for each call.',
  },
  invalid_scope: {
    reason: 'A scope was requested that the account does not have.',
    hint: 'Request only the scopes that GET /me shows, or ask your contact for the missing one.',
  },
};

const IN_URL: Explanation = {
  reason: 'The token was issued, but the password was sent in the URL.',
  hint: 'Send username and password in the form body, because URLs end up in logs.',
};
const UNKNOWN: Explanation = { reason: 'The sign-in was refused.', hint: 'Ask your contact, and name the request id.' };

/** @returns nothing for a token without anything to be improved */
function explain({ outcome, reason, errorCode }: ActivityDto): Explanation | undefined {
  if (outcome === 'token') return reason === 'legacy_query' ? IN_URL : undefined;
  const found = (reason === null ? undefined : REASONS[reason]) ?? UNKNOWN;
  if (!wasTooMany(errorCode) || reason === 'issuance_limit' || reason === 'not_checked') return found;
  return {
    reason: `${found.reason} It was one of too many failed attempts.`,
    hint: `${found.hint} Wait as long as the Retry-After header says before the next attempt.`,
  };
}

/** An attempt as the channel user itself sees it. */
export function toOwnDto(attempt: ActivityDto): OwnActivityDto {
  const { reason = null, hint = null } = explain(attempt) ?? {};
  const { id, at, address, outcome, errorCode, reason: reasonCode, requestId, count } = attempt;
  return { id, at, address, outcome, errorCode, reasonCode, reason, hint, requestId, count };
}
