import { type DynamicModule, Module } from '@nestjs/common';
import { Clock } from './clock.ts';
import { Lifecycle, type ProcessRole } from './lifecycle.ts';
import { MonotonicClock } from './monotonic-clock.ts';
import { ReadPatience } from './read-patience.ts';
import { Scheduler } from './scheduler.ts';

/** Global providers, which every feature may use without importing a module. */
@Module({})
export class CommonModule {
  static for(role: ProcessRole): DynamicModule {
    return {
      module: CommonModule,
      global: true,
      providers: [
        Clock,
        MonotonicClock,
        { provide: Lifecycle, useFactory: () => new Lifecycle(role) },
        ReadPatience,
        Scheduler,
      ],
      exports: [Clock, MonotonicClock, Lifecycle, ReadPatience, Scheduler],
    };
  }
}
