import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BlockList } from 'node:net';
import type { AppError } from './errors.ts';
import type { HttpStats, RouteStats } from './http-stats.ts';
import type { RoutePlane } from './planes.ts';
import type { Uploads } from './uploads.ts';

/** A channel user as its token presents it: what `@CurrentChannelUser()` gives. */
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
/** Each role may do what the ones before it may. */
export type Role = (typeof ROLES)[number];

/** A signed-in staff member: what `@CurrentStaff()` gives. */
export interface CurrentStaff {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
  readonly createdAt: Date;
  readonly lastSignInAt: Date | null;
  /** Whether signing in takes a second factor. */
  readonly secondFactor: boolean;
  /** A second factor is required of all, and this person has yet to set one up. */
  readonly enrolmentRequired: boolean;
  readonly session: {
    readonly id: string;
    readonly expiresAt: Date;
    /** How long it may be unused; `null`: as long as it lives. */
    readonly idleSeconds: number | null;
  };
}

declare module 'fastify' {
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type -- declaration merging needs an interface
  interface FastifyContextConfig extends RouteSettings {}
  interface FastifyInstance {
    readonly stats: HttpStats;
    readonly uploads: Uploads;
  }
  interface FastifyRequest {
    /** When its headers were read, on the monotonic clock, in milliseconds. */
    arrivedAt: number;
    /** The client's address behind trusted proxies; absent when it is not known. */
    clientAddress?: string | undefined;
    channelUser?: CurrentChannelUser;
    staff?: CurrentStaff;
    /** The code of the error that was answered, for the log. */
    errorCode?: string;
    /** Where no route answers: the settings of one of the path's, which only the method did not match, or none. */
    matchedConfig?: RouteSettings;
    /** Where it is counted. */
    stats?: RouteStats | undefined;
    /** It was answered, or its client has gone. */
    hasEnded?: boolean;
  }
}

/** What the HTTP layer needs of the configuration. */
export interface HttpOptions {
  /** Peers whose forwarding headers are believed. */
  readonly trustedProxies: BlockList;
  readonly legacyQueryCredentials: boolean;
  /** https means that clients must not use anything else. */
  readonly publicUrl: string;
}

/** What a controller may say to the HTTP layer with `@RouteConfig()`. */
export interface RouteSettings {
  /** What the body is; JSON unless said otherwise. Media types: an upload, which the handler reads as it arrives. */
  body?: 'form' | readonly string[];
  /** Runs before the content type is looked at and the body is read; throws to refuse. */
  beforeBody?: (request: FastifyRequest, options: HttpOptions) => void;
  /** Writes errors in the route's own form instead of `application/problem+json`. */
  renderError?: (error: AppError, request: FastifyRequest, reply: FastifyReply) => void;
  /** Which listeners serve it; comes with its path. */
  plane?: RoutePlane;
  /** Where its requests are counted. */
  stats?: RouteStats;
}

/** Who causes a change, for the audit trail. */
export interface Actor {
  readonly type: 'staff' | 'cli' | 'system';
  readonly id: string | null;
  readonly name: string;
  readonly address: string | null;
  readonly requestId: string | null;
}
