import { RequestMethod } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { DiscoveryService, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { randomUUID } from 'node:crypto';
import { GRANTED, type GrantedRule, SCOPES } from '../../src/common/security.ts';
import type { Answer, PartnerWithToken, TestApp } from './app.ts';

interface GrantedRoute {
  readonly method: string;
  /** With `:name` for parameters. */
  readonly path: string;
  readonly rules: readonly GrantedRule[];
  readonly scopes: readonly string[];
}

/** What there is of a type of resources. */
export interface ResourceFactory {
  /** Creates a resource. @returns its id */
  readonly create: () => Promise<string>;
  /** For types that are granted with another one: that, of a resource that was created. */
  readonly grantedWith?: { readonly type: string; readonly idOf: (id: string) => Promise<string> };
}

/** Every handler of the running application that says `@Granted()`, with its methods and paths. */
export function grantedRoutes({ app }: TestApp): GrantedRoute[] {
  const scanner = new MetadataScanner();
  const said = <T>(key: string, target: object): T | undefined => Reflect.getMetadata(key, target) as T | undefined;
  return new DiscoveryService(app.nest.get(ModulesContainer)).getControllers().flatMap(({ metatype }) => {
    if (typeof metatype !== 'function') return [];
    const prototype = metatype.prototype as Record<string, object>;
    return scanner.getAllMethodNames(prototype).flatMap((name) => {
      const handler = prototype[name];
      const rules = handler && said<GrantedRule[]>(GRANTED, handler);
      if (!rules) return [];
      const method = RequestMethod[said<RequestMethod>(METHOD_METADATA, handler) ?? RequestMethod.GET];
      const scopes = [handler, metatype].flatMap((target) => said<string[]>(SCOPES, target) ?? []);
      const paths = [said<string | string[]>(PATH_METADATA, metatype) ?? '']
        .flat()
        .flatMap((prefix) =>
          [said<string | string[]>(PATH_METADATA, handler) ?? '']
            .flat()
            .map((path) => `/${prefix}/${path}`.replaceAll(/\/+/g, '/').replace(/(?<=.)\/$/, '')),
        );
      return paths.map((path) => ({ method, path, rules, scopes }));
    });
  });
}

/** What of an answer may not differ. */
const comparable = ({ status, headers, text }: Answer): unknown => ({
  status,
  headers: [...headers.keys()].sort(),
  body: text.replace(/"requestId":"[^"]+"/, ''),
});

/**
 * Tries every route of the running application that says `@Granted()`, for every resource that it asks for: without a
 * grant, with one for another resource, with an unknown id and without the permission it is the same 404; with the
 * grant it is another answer.
 *
 * @param app with the modules to be tried
 * @param factories for each type that a route asks for
 * @returns the routes that were tried
 */
export async function expectGrantsToHold(
  app: TestApp,
  factories: Readonly<Record<string, ResourceFactory>>,
): Promise<string[]> {
  const routes = grantedRoutes(app);
  const scopes = [...new Set(routes.flatMap((route) => route.scopes))];
  const factoryOf = (type: string): ResourceFactory => {
    const factory = factories[type];
    if (!factory) throw new Error(`A route asks for a grant of "${type}": say how one is created`);
    return factory;
  };

  async function grant(partner: PartnerWithToken, { type, permission }: GrantedRule, id: string): Promise<void> {
    const { grantedWith } = factoryOf(type);
    const resourceType = grantedWith?.type ?? type;
    const resourceIds = [grantedWith ? await grantedWith.idOf(id) : id];
    const permissions = permission === undefined ? [] : [permission];
    await app.grant(partner, { resourceType, resourceIds, permissions });
  }

  for (const { method, path, rules } of routes) {
    for (const rule of rules) {
      const route = `${method} ${path} (${rule.type})`;
      const partner = await app.asPartner({ scopes });
      const { create, grantedWith } = factoryOf(rule.type);
      const [mine, others] = [await create(), await create()];
      await grant(await app.asPartner(), rule, others);
      const further = new Map<string, string>();
      for (const other of rules.filter(({ field }) => field !== rule.field)) {
        const id = await factoryOf(other.type).create();
        await grant(partner, other, id);
        further.set(other.field, id);
      }
      const call = (id: string): Promise<Answer> => {
        const fields = new Map([...further, [rule.field, id]]);
        const query = new URLSearchParams([...fields].filter(([field]) => !path.includes(`:${field}`)));
        const url = path.replaceAll(/:(\w+)/g, (_, name: string) =>
          encodeURIComponent(fields.get(name) ?? randomUUID()),
        );
        return app.request(method, `${url}?${query.toString()}`, {
          token: partner.token,
          ...(method !== 'GET' && { json: {} }),
        });
      };

      const refused = await call(randomUUID());
      const problem = refused.status === 404 ? refused.json() : {};
      expect([route, refused.status, problem['code']]).toEqual([route, 404, 'resource.not-found']);
      const expectRefusal = async (why: string, id: string): Promise<void> => {
        expect([route, why, comparable(await call(id))]).toEqual([route, why, comparable(refused)]);
      };
      await expectRefusal('not granted', mine);
      await expectRefusal('granted to somebody else', others);
      if (rule.permission !== undefined) {
        await grant(partner, { ...rule, permission: undefined }, mine);
        await expectRefusal('granted without the permission', mine);
      }
      if (grantedWith) {
        await app.grant(partner, { resourceType: rule.type, resourceIds: [others] });
        await expectRefusal(`granted as ${rule.type}, which counts for nothing`, others);
      }
      await grant(partner, rule, mine);
      const opened = await call(mine);
      // What it answers to a request that lacks everything else is the module's business.
      expect([route, 'granted', opened.status === 404 ? opened.text : 'opens']).toEqual([route, 'granted', 'opens']);
      await expectRefusal('another one is granted', others);
    }
  }
  return routes.map(({ method, path }) => `${method} ${path}`);
}
