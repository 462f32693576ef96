import { lastUseOf } from '../../../src/partner-page/words/credential.ts';
import { Words } from '../text.tsx';
import type { Credential } from './partner-api.ts';

/** When and from where a password last got a token, which shows whether its end would be noticed. */
export const LastUse = ({ credential }: { credential: Credential }) => <Words text={lastUseOf(credential)} />;
