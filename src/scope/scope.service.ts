import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { BUILT_IN_SCOPES, SCOPES } from '../common/security.ts';
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
  #known: { readonly at: number; readonly granted: ReadonlyMap<string, number> } | undefined;
  #counting: Promise<ReadonlyMap<string, number>> | undefined;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      const handlers = this.scanner.getAllMethodNames(prototype).flatMap((name) => prototype[name] ?? []);
      for (const scope of [metatype, ...handlers].flatMap((said) => this.#saidBy(said))) {
        if (!this.#declared.has(scope)) this.#declared.set(scope, null);
      }
    }
  }

  /** Every scope that is declared or granted, by name. */
  async list(): Promise<ScopeListDto['items']> {
    const granted = await this.#granted();
    const names = [...new Set([...this.#declared.keys(), ...granted.keys()])].sort();
    return names.map((name) => ({
      name,
      description: this.#declared.get(name) ?? null,
      declared: this.#declared.has(name),
      grantedTo: granted.get(name) ?? 0,
    }));
  }

  #saidBy(target: object): string[] {
    return this.reflector.get<string[] | undefined>(SCOPES, target as () => unknown) ?? [];
  }

  /** As of the last minute; those who ask at once share a count. */
  async #granted(): Promise<ReadonlyMap<string, number>> {
    const age = this.clock.now() - (this.#known?.at ?? -Infinity);
    if (this.#known && age >= 0 && age < KEEP_MS) return this.#known.granted;
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async #count(): Promise<ReadonlyMap<string, number>> {
    const at = this.clock.now();
    const rows = await this.dataSource.query<{ scope: string; n: number }[]>(GRANTED);
    const granted = new Map(rows.map(({ scope, n }) => [scope, n]));
    this.#known = { at, granted };
    return granted;
  }
}
