import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import {
  endLabel,
  type Rotation,
  rotationDanger,
  rotationLines,
  rotationOrigin,
  rotationTitle,
} from '../../../src/partner-page/words/rotation.ts';
import { IfRole } from '../permissions.ts';
import { Words } from '../text.tsx';
import type { Credential, Handover } from './partner-api.ts';

interface RotationStateProps {
  readonly rotation: Rotation<Credential>;
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
  const startedBy = next.startedBy?.type ?? null;
  const danger = rotationDanger(rotation);
  const origin = rotationOrigin(rotation, startedBy, next.startedBy?.name);
  return (
    <Alert severity={danger ? 'warning' : 'info'} sx={{ overflowWrap: 'anywhere' }} aria-label="Rotation">
      <AlertTitle sx={{ mb: 0.5 }}>
        <Words text={rotationTitle(rotation, link, startedBy)} />
      </AlertTitle>
      <Stack spacing={0.5} useFlexGap>
        {rotationLines(rotation, link).map((line, index) => (
          <Typography key={index} variant="body2">
            <Words text={line} />
          </Typography>
        ))}
        {danger && (
          <Typography variant="body2" sx={{ fontWeight: 600 }}>
            <Words text={danger} />
          </Typography>
        )}
        {origin && (
          <Typography variant="body2">
            <Words text={origin} />
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
              {endLabel(credential, rotation)}
            </Button>
          ))}
        </Box>
      </IfRole>
    </Alert>
  );
}
