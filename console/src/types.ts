import type { components } from './openapi.ts';

type Schemas = components['schemas'];

export type Staff = Schemas['StaffDto'] & { secondFactor: boolean };
export type Role = Staff['role'];

/** `GET /admin/session`. */
export type Session = Staff & {
  session: { expiresAt: string; idleSeconds: number | null };
  enrolmentRequired: boolean;
};

export interface Settings {
  secondFactorRequired: boolean;
}

/** `changes`: field → [before, after]; OpenAPI 3.0 knows no pairs. */
export type AuditEvent = Omit<Schemas['AuditEventDto'], 'changes'> & { changes: Record<string, [unknown, unknown]> };

export type SigningKey = Schemas['SigningKeyDto'];
export type SigningKeyList = Schemas['SigningKeyListDto'];
