import { Injectable } from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { controllerRoutes } from '../../platform/api/controller-routes.ts';
import { GRANTED, type GrantedRule } from '../../platform/api/security.ts';
import type { ResourceTypeListDto } from './grant.dto.ts';
import { GrantService } from './grant.service.ts';

/** Lists the types of resources that the application's routes name in `@Granted()`. */
@Injectable()
export class ResourceTypeService {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly grants: GrantService,
  ) {}

  /** The types that staff can grant, in order of name. A type with a parent is replaced by the parent's type. */
  list(): ResourceTypeListDto['items'] {
    const rules = controllerRoutes(this.discovery).flatMap(
      ({ handler }) => (Reflect.getMetadata(GRANTED, handler) ?? []) as readonly GrantedRule[],
    );
    const names = new Set(rules.map(({ type }) => this.grants.grantedType(type)));
    return [...names].sort().map((name) => ({ name }));
  }
}
