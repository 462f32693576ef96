import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import type { ReactNode } from 'react';
import { Time } from '../feedback.tsx';
import { IfRole } from '../permissions.ts';
import type { Credential, Handover } from './partner-api.ts';
import { durationOf } from './words.ts';

/** How often a page reads what it shows while a rotation is under way, in milliseconds. */
export const WATCH_MS = 15_000;

/** The passwords of a partner during a rotation. */
export interface Rotation {
  /** The new password: pending, or in use while the old ones have not ended. */
  readonly next: Credential;
  /** The other passwords that work. */
  readonly old: readonly Credential[];
}

/** @returns the rotation that is under way, or nothing once the old passwords have ended */
export function rotationOf(items: readonly Credential[]): Rotation | undefined {
  const live = items.filter(({ status }) => status === 'active' || status === 'pending');
  const next = live.find(({ status }) => status === 'pending') ?? live.find(({ activatedAt }) => activatedAt !== null);
  if (!next) return undefined;
  const others = live.filter((credential) => credential !== next);
  const old = next.status === 'pending' ? others : others.filter(({ createdAt }) => createdAt < next.createdAt);
  return next.status === 'pending' || old.length > 0 ? { next, old } : undefined;
}

/** How the new password reached the partner, and that it is not used yet. */
function Waiting({ next, link }: { next: Credential; link: Handover | undefined }) {
  if (!link) return <>shown to {next.startedBy?.type === 'account' ? 'the partner' : 'staff'}, not used yet</>;
  if (link.revealedAt === null) return <>not opened yet</>;
  return (
    <>
      opened <Time value={link.revealedAt} />, not used yet
    </>
  );
}

/** An old password: its last use, which tells who would notice its end, and whether it keeps working. */
function Old({ credential, isOnly, ends }: { credential: Credential; isOnly: boolean; ends: ReactNode }) {
  const { label, lastUsedAt, lastUsedAddress } = credential;
  return (
    <Typography variant="body2">
      {isOnly ? 'The old one' : <>“{label}”</>}{' '}
      {lastUsedAt === null ? (
        'was never used'
      ) : (
        <>
          was last used <Time value={lastUsedAt} relative />
          {lastUsedAddress !== null && ` from ${lastUsedAddress}`}
        </>
      )}{' '}
      and {ends}
    </Typography>
  );
}

const Ends = ({ at, isPending }: { at: string | null; isPending: boolean }): ReactNode => {
  if (at === null) return 'keeps working.';
  return isPending ? (
    <>
      works until <Time value={at} />.
    </>
  ) : (
    <>
      ends <Time value={at} relative />.
    </>
  );
};

/** What happens to a pending password, and when. */
function NextStep({ rotation: { next, old }, link }: { rotation: Rotation; link: Handover | undefined }) {
  const seconds = next.retireOthers?.seconds ?? 0;
  const isUnopened = link?.status === 'waiting';
  return (
    <Typography variant="body2">
      {old.length > 0 && (
        <>
          {old.length === 1 ? 'The old one ends' : 'The old ones end'}{' '}
          {seconds === 0
            ? 'at the first use of the new one'
            : `${durationOf(seconds)} after the first use of the new one`}
          .{' '}
        </>
      )}
      {isUnopened ? (
        <>
          If nobody opens the link by <Time value={link.expiresAt} />, the new one is withdrawn.
        </>
      ) : (
        old.length > 0 && (
          <>
            If nobody uses the new one by <Time value={next.pendingUntil} />, it is withdrawn.
          </>
        )
      )}
    </Typography>
  );
}

/** The last end of the old passwords, if all of them end by themselves before the new one is withdrawn. */
function endOf({ next, old }: Rotation): string | undefined {
  const ends = old.map(({ expiresAt }) => expiresAt);
  if (ends.includes(null)) return undefined;
  const last = ends.reduce<string>((latest, end) => (end !== null && end > latest ? end : latest), '');
  return last < (next.pendingUntil ?? '') ? last : undefined;
}

/** What may leave the partner without a password that it uses. */
function Danger({ rotation }: { rotation: Rotation }) {
  const { next, old } = rotation;
  if (next.status !== 'pending') return null;
  const end = endOf(rotation);
  if (end === undefined) return null;
  return (
    <Typography variant="body2" sx={{ fontWeight: 600 }}>
      {old.length === 0 ? (
        'No other password works: the partner gets no tokens until it uses the new one.'
      ) : (
        <>
          {old.length === 1 ? 'The old one expires by itself' : 'The old ones expire by themselves'}{' '}
          <Time value={end} relative />, even if nobody has used the new one by then.
        </>
      )}
    </Typography>
  );
}

interface RotationStateProps {
  readonly rotation: Rotation;
  /** The link of the new password, unless staff have seen the password. */
  readonly link: Handover | undefined;
  readonly onNewLink: () => void;
  readonly onWithdraw: () => void;
  readonly onEnd: (credential: Credential) => void;
}

/** Says where a rotation stands and what happens next, and offers what staff can do about it. */
export function RotationState({ rotation, link, onNewLink, onWithdraw, onEnd }: RotationStateProps) {
  const { next, old } = rotation;
  const isPending = next.status === 'pending';
  const isDangerous = isPending && endOf(rotation) !== undefined;
  const startedBy = next.startedBy?.type === 'account' ? 'the partner itself' : next.startedBy?.name;
  return (
    <Alert severity={isDangerous ? 'warning' : 'info'} sx={{ overflowWrap: 'anywhere' }} aria-label="Rotation">
      <AlertTitle sx={{ mb: 0.5 }}>
        New password:{' '}
        {isPending ? (
          <Waiting next={next} link={link} />
        ) : (
          <>
            first used <Time value={next.activatedAt} />
          </>
        )}
        .
      </AlertTitle>
      <Stack spacing={0.5} useFlexGap>
        {old.map((credential) => (
          <Old
            key={credential.id}
            credential={credential}
            isOnly={old.length === 1}
            ends={<Ends at={credential.expiresAt} isPending={isPending} />}
          />
        ))}
        {isPending && <NextStep rotation={rotation} link={link} />}
        <Danger rotation={rotation} />
        {isPending && startedBy != null && (
          <Typography variant="body2">
            Created <Time value={next.createdAt} relative /> by <bdi>{startedBy}</bdi>.
          </Typography>
        )}
      </Stack>
      <IfRole role="operator">
        <Box sx={{ display: 'flex', flexWrap: 'wrap', gap: 1, mt: 1 }}>
          {isPending && (
            <>
              <Button size="small" variant="outlined" color="inherit" onClick={onNewLink}>
                Send a new link
              </Button>
              <Button size="small" variant="outlined" color="inherit" onClick={onWithdraw}>
                Withdraw
              </Button>
            </>
          )}
          {old.map((credential) => (
            <Button
              key={credential.id}
              size="small"
              variant="outlined"
              color="inherit"
              onClick={() => {
                onEnd(credential);
              }}
            >
              {old.length === 1 ? 'End the old one now' : `End “${credential.label}” now`}
            </Button>
          ))}
        </Box>
      </IfRole>
    </Alert>
  );
}
