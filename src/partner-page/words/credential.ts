import { minute, relative, type Text } from './text.ts';

export type CredentialStatus = 'active' | 'pending' | 'expired' | 'revoked' | 'withdrawn';

/** What both the staff API and the partner's own API say of a password. */
export interface CredentialState {
  readonly id: string;
  readonly label: string;
  readonly fingerprint: string | null;
  readonly status: CredentialStatus;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
  readonly reportedLeakedAt?: string | null;
  readonly pendingUntil: string | null;
  readonly activatedAt: string | null;
  readonly retireOthers: { readonly seconds: number } | null;
  readonly lastUsedAt: string | null;
  readonly lastUsedAddress: string | null;
}

export const CREDENTIAL_STATUS_WORDS: Record<CredentialStatus, string> = {
  active: 'Works',
  pending: 'Works, not used yet',
  expired: 'Expired',
  revoked: 'Revoked',
  withdrawn: 'Withdrawn unused',
};

export const NO_PASSWORD = 'No password works, so the partner cannot sign in.';

/** Whether a password gets tokens. */
export const isLive = ({ status }: Pick<CredentialState, 'status'>): boolean =>
  status === 'active' || status === 'pending';

/** Whether `other` has taken over and works longer. */
const outlasts = (other: CredentialState, credential: CredentialState): boolean =>
  other.status === 'active' &&
  credential.expiresAt !== null &&
  other.createdAt > credential.createdAt &&
  (other.expiresAt === null || other.expiresAt > credential.expiresAt);

/** The state of a password among all of the partner's. */
export const statusWords = (credential: CredentialState, all: readonly CredentialState[]): string =>
  credential.status === 'active' && all.some((other) => outlasts(other, credential))
    ? 'Works, but replaced by a newer one'
    : CREDENTIAL_STATUS_WORDS[credential.status];

/** The name of a password among others. The fingerprint tells apart those of the same label. */
export function passwordName({ id, label, fingerprint }: CredentialState, all: readonly CredentialState[]): string {
  const isUnique = all.every((other) => other.id === id || other.label !== label);
  return isUnique || fingerprint === null ? `“${label}”` : `“${label}” (${fingerprint})`;
}

/** When and from where a password last got a token, which shows whether its end would be noticed. */
export function lastUseOf({
  lastUsedAt,
  lastUsedAddress,
  lastUsedUserAgent = null,
}: Pick<CredentialState, 'lastUsedAt' | 'lastUsedAddress'> & { readonly lastUsedUserAgent?: string | null }): Text {
  if (lastUsedAt === null) return ['Never used'];
  return [
    'Last used ',
    relative(lastUsedAt),
    ...(lastUsedAddress === null ? [] : [` from ${lastUsedAddress}`]),
    ...(lastUsedUserAgent === null ? [] : [` by ${lastUsedUserAgent}`]),
  ];
}

/** When a password was made, when it ends or ended, and its fingerprint. */
export function lifeOf(credential: CredentialState): Text {
  const { createdAt, fingerprint } = credential;
  return [
    'Made ',
    minute(createdAt),
    ...endOf(credential),
    ...(fingerprint === null ? [] : [' · fingerprint ', { code: fingerprint }]),
  ];
}

function endOf({ status, expiresAt, revokedAt, reportedLeakedAt = null }: CredentialState): Text {
  const reported: Text = reportedLeakedAt === null ? [] : [' · reported as leaked ', minute(reportedLeakedAt)];
  if (revokedAt !== null) {
    return [` · ${status === 'withdrawn' ? 'withdrawn' : 'revoked'} `, minute(revokedAt), ...reported];
  }
  if (expiresAt === null) return [...reported, ' · never expires'];
  return [...reported, ` · ${status === 'expired' ? 'expired' : 'expires'} `, minute(expiresAt)];
}
