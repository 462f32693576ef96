import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { Recent } from '../common/recent.ts';
import { BUILT_IN_SCOPES, type DescribedScope, SCOPE_DESCRIPTIONS, SCOPES } from '../common/security.ts';
import type { ScopeListDto } from './scope.dto.ts';

/** Counting reads every channel user once. */
const KEEP_MS = 60_000;

const GRANTED = `
  SELECT scope, count(*)::float8 AS n FROM channel_user CROSS JOIN LATERAL unnest(scopes) AS scope GROUP BY scope`;

/** Knows which scopes there are: those that some route asks for, and those that somebody was granted. */
@Injectable()
export class ScopeService implements OnApplicationBootstrap {
  /** Name → description. */
  readonly #declared = new Map<string, string | null>(Object.entries(BUILT_IN_SCOPES));
  readonly #granted: Recent<ReadonlyMap<string, number>>;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly dataSource: DataSource,
    clock: Clock,
  ) {
    this.#granted = new Recent(clock, KEEP_MS, () => this.#count());
  }

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      const handlers = this.scanner.getAllMethodNames(prototype).flatMap((name) => prototype[name] ?? []);
      for (const said of [metatype, ...handlers]) {
        for (const scope of this.#saidBy<string>(said, SCOPES)) {
          if (!this.#declared.has(scope)) this.#declared.set(scope, null);
        }
        // Of several descriptions the first counts.
        for (const { name, description } of this.#saidBy<DescribedScope>(said, SCOPE_DESCRIPTIONS)) {
          this.#declared.set(name, this.#declared.get(name) ?? description);
        }
      }
    }
  }

  /** Every scope that is declared or granted, by name. */
  async list(): Promise<ScopeListDto['items']> {
    const granted = await this.#granted.get();
    const names = [...new Set([...this.#declared.keys(), ...granted.keys()])].sort();
    return names.map((name) => ({
      name,
      description: this.#declared.get(name) ?? null,
      declared: this.#declared.has(name),
      grantedTo: granted.get(name) ?? 0,
    }));
  }

  #saidBy<T>(target: object, key: string): T[] {
    return this.reflector.get<T[] | undefined>(key, target as () => unknown) ?? [];
  }

  async #count(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.dataSource.query<{ scope: string; n: number }[]>(GRANTED);
    return new Map(rows.map(({ scope, n }) => [scope, n]));
  }
}
