import { RequestMethod } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { type DiscoveryService, MetadataScanner } from '@nestjs/core';

/** A route as a controller declares it. */
export interface ControllerRoute {
  readonly method: string;
  /** With `:name` for parameters, such as `/admin/channel-users/:id`. */
  readonly path: string;
  readonly controller: new (...args: never[]) => unknown;
  readonly handler: () => unknown;
}

const metadata = <T>(key: string, target: object): T | undefined => Reflect.getMetadata(key, target) as T | undefined;

/** The paths of a controller or a handler. One without a path has the empty path. */
const pathsOf = (target: object): string[] => [metadata<string | string[]>(PATH_METADATA, target) ?? ''].flat();

/** Every route that the controllers of the application declare. */
export function controllerRoutes(discovery: DiscoveryService): ControllerRoute[] {
  const scanner = new MetadataScanner();
  return discovery.getControllers().flatMap(({ metatype }) => {
    if (typeof metatype !== 'function') return [];
    const controller = metatype as ControllerRoute['controller'];
    const prototype = controller.prototype as Record<string, () => unknown>;
    return scanner.getAllMethodNames(prototype).flatMap((name) => {
      const handler = prototype[name];
      const method = handler && metadata<RequestMethod>(METHOD_METADATA, handler);
      if (!handler || method === undefined) return [];
      return pathsOf(controller).flatMap((prefix) =>
        pathsOf(handler).map((path) => ({
          method: RequestMethod[method],
          path: `/${prefix}/${path}`.replaceAll(/\/+/g, '/').replace(/(?<=.)\/$/, ''),
          controller,
          handler,
        })),
      );
    });
  });
}
