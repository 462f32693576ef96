import CheckIcon from '@mui/icons-material/CheckCircleOutlined';
import ErrorIcon from '@mui/icons-material/ErrorOutlined';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import FormControlLabel from '@mui/material/FormControlLabel';
import Switch from '@mui/material/Switch';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import {
  foldRuns,
  noSignIns,
  olderRun,
  runEntry,
  signInDetails,
  signInTitle,
} from '../../../src/partner-page/words/sign-in.ts';
import { Time } from '../feedback.tsx';
import { Words } from '../text.tsx';
import { FoldedList } from './paged-list.tsx';
import { type Activity, type ChannelUser, partnerApi } from './partner-api.ts';
import { adviceOf } from './words.ts';

type LabelOf = (id: string) => string | undefined;

interface AttemptProps {
  readonly attempt: Activity;
  /** The entry above failed for the same reason, and shows the advice. */
  readonly isRepeated: boolean;
  readonly labelOf: LabelOf;
}

function Attempt({ attempt, isRepeated, labelOf, children }: AttemptProps & { children?: ReactNode }) {
  const { at, outcome, reason, credentialId, userAgent } = attempt;
  const advice = adviceOf(attempt);
  const label = credentialId === null ? undefined : labelOf(credentialId);
  const Icon = outcome === 'token' ? CheckIcon : ErrorIcon;
  return (
    <Box sx={{ display: 'flex', gap: 1.5 }}>
      <Icon
        color={outcome === 'token' ? 'success' : 'error'}
        titleAccess={outcome === 'token' ? 'Token' : 'Refused'}
        sx={{ mt: 0.25 }}
      />
      <Box sx={{ flex: 1, minWidth: 0 }}>
        <Box sx={{ display: 'flex', flexWrap: 'wrap', columnGap: 2 }}>
          <Typography component="h3" variant="subtitle1" sx={{ flex: '1 1 240px' }}>
            {signInTitle(attempt, reason)}
          </Typography>
          <Typography variant="body2" component="span">
            <Time value={at} seconds />
          </Typography>
        </Box>
        <Typography variant="body2" color="textSecondary">
          <Words text={signInDetails(attempt, { userAgent, label })} />
        </Typography>
        {advice !== undefined && !isRepeated && (
          <Typography variant="body2" sx={{ mt: 0.5 }}>
            {advice}
          </Typography>
        )}
        {children}
      </Box>
    </Box>
  );
}

/** The newest of successive equal successes. The older ones are shown on demand. */
function Run({ run, labelOf }: { run: readonly Activity[]; labelOf: LabelOf }) {
  const [isOpen, setOpen] = useState(false);
  const [newest, ...older] = run;
  if (!newest) return null;
  return (
    <Attempt attempt={newest} isRepeated={false} labelOf={labelOf}>
      {older.length > 0 && (
        <>
          <Typography variant="body2">
            <Words text={olderRun(older)} />{' '}
            <Button
              size="small"
              aria-expanded={isOpen}
              onClick={() => {
                setOpen(!isOpen);
              }}
            >
              {isOpen ? 'Hide them' : 'Show them'}
            </Button>
          </Typography>
          {isOpen && (
            <Box component="ul" sx={{ m: 0, pl: 2.5 }}>
              {older.map((each) => (
                <Typography key={each.id} component="li" variant="body2">
                  <Words text={runEntry(each)} />
                </Typography>
              ))}
            </Box>
          )}
        </>
      )}
    </Attempt>
  );
}

const isSame = (one: Activity, other: Activity): boolean =>
  one.reason === other.reason &&
  one.address === other.address &&
  one.userAgent === other.userAgent &&
  one.credentialId === other.credentialId;

/** The partner's sign-ins, with the true reasons of refusals, in the words of the partner's own page. */
export function ActivityTab({ partner: { id } }: { partner: ChannelUser }) {
  const [isRefusedOnly, setRefusedOnly] = useState(false);
  const { data } = useQuery({
    queryKey: ['channel-users', 'credentials', id],
    queryFn: () => partnerApi.credentials(id),
  });
  const labelOf: LabelOf = (credentialId) => data?.items.find((credential) => credential.id === credentialId)?.label;
  return (
    <FoldedList
      queryKey={['channel-users', 'activity', id, isRefusedOnly ? 'refused' : 'all']}
      ask={(cursor) => partnerApi.activity(id, cursor, isRefusedOnly ? 'refused' : undefined)}
      title="Sign-ins"
      what="the sign-ins"
      nothing={noSignIns(isRefusedOnly)}
      fold={(attempts) => foldRuns(attempts, isSame)}
      filter={
        <FormControlLabel
          control={
            <Switch
              checked={isRefusedOnly}
              onChange={(_, checked) => {
                setRefusedOnly(checked);
              }}
            />
          }
          label="Only refusals"
        />
      }
    >
      {(attempt, newer) =>
        attempt.outcome === 'token' ? (
          <Run run={attempt.run} labelOf={labelOf} />
        ) : (
          <Attempt attempt={attempt} isRepeated={newer?.reason === attempt.reason} labelOf={labelOf} />
        )
      }
    </FoldedList>
  );
}
