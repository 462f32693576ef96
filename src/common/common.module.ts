import { type DynamicModule, Module } from '@nestjs/common';
import { Clock } from './clock.ts';
import { Lifecycle, type ProcessRole } from './lifecycle.ts';

/** What every feature may use without importing a module. */
@Module({})
export class CommonModule {
  static for(role: ProcessRole): DynamicModule {
    return {
      module: CommonModule,
      global: true,
      providers: [Clock, { provide: Lifecycle, useFactory: () => new Lifecycle(role) }],
      exports: [Clock, Lifecycle],
    };
  }
}
