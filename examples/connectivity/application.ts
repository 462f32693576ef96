import type { Application } from '../../src/extend.ts';
import { ConnectivityDemo } from './connectivity.demo.ts';
import { ConnectivityModule } from './connectivity.module.ts';

/** What `--application` names, and what the tests start. */
export default {
  features: [ConnectivityModule],
  migrations: [new URL('./migrations/', import.meta.url)],
  demo: ConnectivityDemo,
} satisfies Application;
