import type { FastifyRequest, RouteOptions } from 'fastify';
import findMyWay, { type HTTPMethod } from 'find-my-way';
import { PUBLIC } from '../api/security.ts';
import { MAX_PUBLIC_BYTES } from './body-types.ts';
import type { RouteSettings, UnknownRoute } from './fastify-types.ts';
import type { Apis } from './listeners.ts';
import { apiOfRoute } from './route-api.ts';
import type { HttpStats } from './route-stats.ts';

/** Paths that pages of any origin may read: keys, metadata and the API reference. */
const PUBLIC_DOCUMENTS = /^\/(?:\.well-known|docs)(?:\/|$)/;
/** Characters of the longest path parameter. Fastify's router and the route table must use the same limit. */
export const MAX_PARAM_LENGTH = 500;

/** The request target without its query. */
export function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

/**
 * Every route of the running server by method and path. With it, a request for a path that exists under another method
 * is answered with 405 and `Allow` (RFC 9110 §15.5.6). Tests use the list to try every route.
 */
export class RouteTable {
  readonly routes: { method: string; url: string }[] = [];
  readonly #router = findMyWay({ maxParamLength: MAX_PARAM_LENGTH });
  readonly #methods = new Set<string>();

  /** For Fastify's `onRoute`: decides the API of a route, its counters and the limit of its body. */
  register(route: RouteOptions, stats: HttpStats): void {
    const api = apiOfRoute(route.url);
    const isDocument = api === 'partner' && PUBLIC_DOCUMENTS.test(route.url);
    route.config = { ...route.config, api, stats: stats.ofRoute(api, route.url), isDocument };
    // Nest copies the metadata of a controller's method to the handler.
    if (Reflect.getMetadata(PUBLIC, route.handler) === true) route.bodyLimit = MAX_PUBLIC_BYTES;
    for (const method of [route.method].flat()) this.#add(method, route.url, route.config);
  }

  #add(method: string, url: string, settings: RouteSettings): void {
    this.routes.push({ method, url });
    this.#methods.add(method);
    this.#router.on(method as HTTPMethod, url, () => undefined, settings);
  }

  /**
   * Finds the route of a request. If there is none, sets `request.unknownRoute` to the routes of the same path.
   *
   * @param apis the APIs of the listener at which the request arrived
   * @returns the settings of the route, or of another route of the same path
   */
  resolve(request: FastifyRequest, apis: Apis): RouteSettings {
    const settings: RouteSettings = request.routeOptions.config;
    if (!request.is404 && settings.api !== undefined && apis.includes(settings.api)) return settings;
    request.unknownRoute = this.#match(pathOf(request.url), apis);
    return request.unknownRoute.settings;
  }

  #match(path: string, apis: Apis): UnknownRoute {
    const found = [...this.#methods].flatMap((method) => {
      const settings = this.#router.find(method as HTTPMethod, path)?.store as RouteSettings | undefined;
      return settings?.api && apis.includes(settings.api) ? [{ method, settings }] : [];
    });
    return { methods: found.map(({ method }) => method).sort(), settings: found[0]?.settings ?? {} };
  }
}
