import { isURL } from 'class-validator';
import { bareCharacter } from './url-text.ts';

/**
 * Says what is wrong with the address of a Redis server.
 *
 * @returns the rest of a sentence that begins with the setting's name, without the address; nothing when it is usable
 */
export function redisUrlProblem(url: string): string | undefined {
  const isUrl = isURL(url, {
    protocols: ['redis', 'rediss'],
    require_tld: false,
    require_protocol: true,
    allow_underscores: true,
    allow_trailing_dot: true,
  });
  if (!isUrl) return 'must be a URL such as redis://user:password@host:6379/0';
  const bare = bareCharacter(url);
  if (bare !== undefined) return bare;
  if (/^rediss?:\/\/[^/?]*(\/\d{0,5})?(\?[^/]*)?$/.test(url)) return undefined;
  return 'must have no path, or the number of a database such as /0';
}
