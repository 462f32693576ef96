export type Role = 'viewer' | 'operator' | 'admin';

export interface Staff {
  id: string;
  email: string;
  name: string;
  role: Role;
  secondFactor: boolean;
  createdAt: string;
  lastSignInAt: string | null;
}

/** `GET /admin/session`. */
export interface Session extends Staff {
  session: { expiresAt: string; idleSeconds: number | null };
  enrolmentRequired: boolean;
}

export interface Settings {
  secondFactorRequired: boolean;
}

export interface AuditEvent {
  id: string;
  at: string;
  actor: { type: 'staff' | 'cli' | 'system'; id: string | null; name: string };
  action: string;
  target: { type: string; id: string; name: string };
  address: string | null;
  requestId: string | null;
  reason: string | null;
  /** Field → [before, after]. */
  changes: Record<string, [unknown, unknown]>;
}

export interface SigningKey {
  kid: string;
  purpose: 'partner' | 'staff';
  state: 'published' | 'active' | 'retiring' | 'retired' | 'revoked';
  createdAt: string;
  activatedAt: string | null;
  verifiesUntil: string | null;
  revokedAt: string | null;
}
