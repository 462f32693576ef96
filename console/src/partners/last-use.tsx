import { Time } from '../feedback.tsx';
import type { Credential } from './partner-api.ts';

/** When and from where a password last got a token, which shows whether its end would be noticed. */
export function LastUse({ credential }: { credential: Credential }) {
  const { lastUsedAt, lastUsedAddress, lastUsedUserAgent } = credential;
  if (lastUsedAt === null) return <>Never used</>;
  return (
    <>
      Last used <Time value={lastUsedAt} relative />
      {lastUsedAddress !== null && ` from ${lastUsedAddress}`}
      {lastUsedUserAgent !== null && ` by ${lastUsedUserAgent}`}
    </>
  );
}
