/** The channel user whose token a request carries. `@CurrentChannelUser()` injects it. */
export interface CurrentChannelUser {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  /** The token's scopes that the account still has. */
  readonly scopes: readonly string[];
  /** When the account expires, in milliseconds since the epoch; `null` if it does not. */
  readonly expiresAt: number | null;
  /** Whether it may rotate its passwords by itself. */
  readonly selfService: boolean;
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

/** A service account whose key a request carries. `@CurrentActor()` and `@CallerRole()` tell of it. */
export interface CurrentServiceAccount {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The key that the request carries. */
  readonly key: { readonly id: string; readonly isPending: boolean };
}

export const ACTOR_TYPES = ['staff', 'service-account', 'channel-user', 'cli', 'system'] as const;
export type ActorType = (typeof ACTOR_TYPES)[number];

/** Who makes a change, for the audit trail. */
export interface Actor {
  readonly type: ActorType;
  /** Of the staff member, service account or channel user. */
  readonly id: string | null;
  readonly name: string;
  readonly address: string | null;
  readonly requestId: string | null;
  /**
   * The role of a staff member or service account, and the session or key of the request. Both must still be valid when
   * the change commits.
   */
  readonly session?: { readonly id: string; readonly role: Role };
}

/** The actor of what Latchkey does by itself. */
export const SYSTEM: Actor = { type: 'system', id: null, name: 'system', address: null, requestId: null };
