/** Why a channel user's token is refused although Latchkey signed it. */
export type TokenRefusalReason =
  | 'token_expired'
  | 'token_revoked'
  | 'revoked_credential'
  | 'account_suspended'
  | 'account_expired'
  | 'address_not_allowed';

/** A refusal of a token that Latchkey signed, for the records of its channel user. No answer shows it. */
export interface TokenRefusal {
  readonly channelUserId: string;
  readonly reason: TokenRefusalReason;
}
