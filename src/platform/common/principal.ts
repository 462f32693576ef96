/** The channel user whose token a request carries. `@CurrentChannelUser()` injects it. */
export interface CurrentChannelUser {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  /** The token's scopes that the account still has. */
  readonly scopes: readonly string[];
  readonly token: { readonly id: string; readonly issuedAt: Date; readonly expiresAt: Date };
  readonly credential: { readonly id: string; readonly label: string; readonly expiresAt: Date | null };
}

export const ROLES = ['viewer', 'operator', 'admin'] as const;
/** Each role may also do everything that the earlier roles in the list may do. */
export type Role = (typeof ROLES)[number];

/** A signed-in staff member. `@CurrentStaff()` injects it. */
export interface CurrentStaff {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
  readonly createdAt: Date;
  readonly lastSignInAt: Date | null;
  /** Whether this person signs in with a second factor. */
  readonly secondFactor: boolean;
  /** With which identity this person signs in at the identity provider; `null` with a password. */
  readonly identity: { readonly issuer: string; readonly subject: string } | null;
  /** Whether this admin may sign in with a password even if all others may not. */
  readonly breakGlass: boolean;
  /** Whether this person must set up a second factor first, because all staff must have one. */
  readonly enrolmentRequired: boolean;
  readonly session: {
    readonly id: string;
    readonly expiresAt: Date;
    /** Seconds that the session may be unused. `null` sets no limit but `expiresAt`. */
    readonly idleSeconds: number | null;
  };
}

/** Who makes a change, for the audit trail. */
export interface Actor {
  readonly type: 'staff' | 'cli' | 'system';
  readonly id: string | null;
  readonly name: string;
  readonly address: string | null;
  readonly requestId: string | null;
  /** The session and role of a staff member's request. Both must still be valid when the change commits. */
  readonly session?: { readonly id: string; readonly role: Role };
}

/** The actor of what Latchkey does by itself. */
export const SYSTEM: Actor = { type: 'system', id: null, name: 'system', address: null, requestId: null };
