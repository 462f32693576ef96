import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BlockList } from 'node:net';
import type { AppError } from '../common/errors.ts';
import type { CurrentChannelUser, CurrentServiceAccount, CurrentStaff } from '../common/principal.ts';
import type { TokenRefusalReason } from '../common/token-refusal.ts';
import type { CallObservers } from './call-observers.ts';
import type { HttpStats, RouteStats } from './route-stats.ts';
import type { Api } from './route-api.ts';
import type { Uploads } from './uploads.ts';

declare module 'fastify' {
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type -- declaration merging needs an interface
  interface FastifyContextConfig extends RouteSettings {}
  interface FastifyInstance {
    readonly stats: HttpStats;
    readonly uploads: Uploads;
    readonly callObservers: CallObservers;
  }
  interface FastifyRequest {
    /** When the request's headers were read, in milliseconds on the monotonic clock. */
    arrivedAt: number;
    /** The client's address behind trusted proxies. Absent when it is unknown. */
    clientAddress?: string | undefined;
    channelUser?: CurrentChannelUser;
    /** Whose token the request carries, once its signature is verified. Also set if the token is then refused. */
    channelUserId?: string | undefined;
    /** Why that token was refused. The answer does not say it. */
    tokenRefusal?: TokenRefusalReason | undefined;
    staff?: CurrentStaff;
    /** Set once its key is recognised, also if the request is then refused. */
    serviceAccount?: CurrentServiceAccount;
    /** Repeats the guard's check of a staff request and throws if it fails. For long answers, such as exports. */
    confirmStaff?: () => Promise<void>;
    /** The code of the error that was answered, for the log. */
    errorCode?: string;
    /** The routes that the path has under other methods, for a request that no route answers. */
    unknownRoute?: UnknownRoute;
    /** The counters of the request. */
    stats?: RouteStats | undefined;
    /** Whether the request was answered or its client has gone. */
    hasEnded?: boolean;
  }
}

/** The part of the configuration that the HTTP layer needs. */
export interface HttpOptions {
  /** Peers whose forwarding headers are believed. */
  readonly trustedProxies: BlockList;
  readonly legacyQueryCredentials: boolean;
  /** The public address. If it is https, HSTS tells clients to use nothing else. */
  readonly publicUrl: string;
}

/** The routes of a path that has none for the request's method. Both fields are empty if the path has no route. */
export interface UnknownRoute {
  readonly methods: readonly string[];
  /** The settings of one of these routes. */
  readonly settings: RouteSettings;
}

/** Settings of a route. Controllers set them with `@RouteConfig()`. */
export interface RouteSettings {
  /** The type of the body, JSON by default. Media types mean an upload, which the handler reads as it arrives. */
  body?: 'form' | readonly string[];
  /** Runs before the content type is checked and the body is read. Throws to refuse the request. */
  beforeBody?: (request: FastifyRequest, options: HttpOptions) => void;
  /** Writes errors in the route's own form instead of `application/problem+json`. */
  renderError?: (error: AppError, request: FastifyRequest, reply: FastifyReply) => void;
  /** The API of the route, which follows from its path. Only listeners of this API serve the route. */
  api?: Api;
  /** The counters of the route. */
  stats?: RouteStats;
  /** Whether pages of any origin may read the route, which follows from its path. */
  isDocument?: boolean;
}
