import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { LRUCache } from 'lru-cache';
import { TallyService } from '../../channel-user/tally.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { BUILT_IN_SCOPES, type DescribedScope, SCOPE_DESCRIPTIONS, SCOPES } from '../../platform/api/security.ts';
import type { ScopeListDto } from './scope.dto.ts';

/** Milliseconds for which the number of accounts with each scope is cached. */
const KEEP_MS = 60_000;

/** Lists the scopes: those that a route needs, and those that a channel user was granted. */
@Injectable()
export class ScopeService implements OnApplicationBootstrap {
  /** Name → description. */
  readonly #declared = new Map<string, string | null>(Object.entries(BUILT_IN_SCOPES));
  /** Scope → number of accounts. */
  readonly #granted: LRUCache<'granted', ReadonlyMap<string, number>>;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    tally: TallyService,
    clock: Clock,
  ) {
    this.#granted = new LRUCache({
      max: 1,
      ttl: KEEP_MS,
      ttlResolution: 0,
      perf: { now: () => clock.elapsed() },
      fetchMethod: async () => (await tally.read()).byScope,
    });
  }

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      const handlers = this.scanner.getAllMethodNames(prototype).flatMap((name) => prototype[name] ?? []);
      for (const target of [metatype, ...handlers]) {
        for (const scope of this.#metadata<string>(target, SCOPES)) {
          if (!this.#declared.has(scope)) this.#declared.set(scope, null);
        }
        // If several routes describe a scope, the first description wins.
        for (const { name, description } of this.#metadata<DescribedScope>(target, SCOPE_DESCRIPTIONS)) {
          this.#declared.set(name, this.#declared.get(name) ?? description);
        }
      }
    }
  }

  /** Every scope that is declared or granted, by name. */
  async list(): Promise<ScopeListDto['items']> {
    const granted = await this.#granted.forceFetch('granted');
    const names = [...new Set([...this.#declared.keys(), ...granted.keys()])].sort();
    return names.map((name) => ({
      name,
      description: this.#declared.get(name) ?? null,
      declared: this.#declared.has(name),
      grantedTo: granted.get(name) ?? 0,
    }));
  }

  #metadata<T>(target: object, key: string): T[] {
    return this.reflector.get<T[] | undefined>(key, target as () => unknown) ?? [];
  }
}
