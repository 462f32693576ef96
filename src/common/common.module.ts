import { Global, Module } from '@nestjs/common';
import { Clock } from './clock.ts';
import { Lifecycle } from './lifecycle.ts';

/** What every feature may use without importing a module. */
@Global()
@Module({ providers: [Clock, Lifecycle], exports: [Clock, Lifecycle] })
export class CommonModule {}
