import { type Config, loadConfig } from '../platform/config/config.ts';

/** A configuration for describing the application without running it. */
export const OFFLINE_CONFIG: Config = {
  ...loadConfig({ DATABASE_POOL_SIZE: '1', CACHE_SIZE: '1000', SIGNING_KEY_ROTATION_DAYS: '0' }),
  databaseUrl: 'postgres://nowhere',
  publicUrl: 'http://localhost:3000',
  tokenAudience: 'http://localhost:3000',
  keyEncryptionKeys: [Buffer.alloc(32)],
};
