import { Fragment, type ReactNode } from 'react';
import type { Text } from '../../src/partner-page/words/text.ts';
import { Time } from './feedback.tsx';
import { RequestLink } from './requests/request-link.tsx';

/** A text that the partner's page shows in the same words. */
export const Words = ({ text }: { text: Text }): ReactNode =>
  text.map((word, index) => {
    if (typeof word === 'string') return <Fragment key={index}>{word}</Fragment>;
    if ('code' in word) return <code key={index}>{word.code}</code>;
    if ('request' in word) return <RequestLink key={index} id={word.request} />;
    return (
      <Time
        key={index}
        value={word.at}
        relative={word.as === 'relative'}
        seconds={word.as === 'second'}
        clock={word.as === 'clock'}
      />
    );
  });
