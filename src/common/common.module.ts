import { Global, Module } from '@nestjs/common';
import { Clock } from './clock.ts';

/** What every feature may use without importing a module. */
@Global()
@Module({ providers: [Clock], exports: [Clock] })
export class CommonModule {}
