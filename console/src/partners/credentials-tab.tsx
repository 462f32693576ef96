import AutorenewIcon from '@mui/icons-material/Autorenew';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Chip from '@mui/material/Chip';
import FormControlLabel from '@mui/material/FormControlLabel';
import Stack from '@mui/material/Stack';
import Switch from '@mui/material/Switch';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import {
  type CredentialStatus,
  isLive,
  lifeOf,
  NO_PASSWORD,
  statusWords,
} from '../../../src/partner-page/words/credential.ts';
import { rotationOf, WATCH_MS } from '../../../src/partner-page/words/rotation.ts';
import { IfRole } from '../permissions.ts';
import { Words } from '../text.tsx';
import { Handovers, useHandovers } from './handovers.tsx';
import { IssuedCredential } from './issued-credential.tsx';
import { LastUse } from './last-use.tsx';
import { Loaded, Nothing } from './loading-states.tsx';
import { type ChannelUser, type Credential, type NewCredential, partnerApi } from './partner-api.ts';
import { RevokeCredential } from './revoke-credential.tsx';
import { RotateDialog } from './rotate-dialog.tsx';
import { NewLinkDialog, WithdrawDialog } from './rotation-actions.tsx';
import { RotationState } from './rotation-state.tsx';

const COLORS: Record<CredentialStatus, 'success' | 'primary' | 'warning' | 'default'> = {
  active: 'success',
  pending: 'primary',
  expired: 'warning',
  revoked: 'default',
  withdrawn: 'default',
};

interface CredentialCardProps {
  readonly credential: Credential;
  /** All passwords of the partner. */
  readonly all: readonly Credential[];
  readonly onRevoke: () => void;
}

function CredentialCard({ credential, all, onRevoke }: CredentialCardProps) {
  const { label, status, revokedAt } = credential;
  return (
    <Card component="li" variant="outlined" sx={{ p: 2, display: 'flex', gap: 2, flexWrap: 'wrap' }}>
      <Box sx={{ flex: '1 1 260px', minWidth: 0, overflowWrap: 'anywhere' }}>
        <Stack direction="row" spacing={1} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap', mb: 0.5 }}>
          <Typography variant="subtitle1" component="h3">
            {label}
          </Typography>
          <Chip size="small" variant="outlined" label={statusWords(credential, all)} color={COLORS[status]} />
        </Stack>
        <Typography variant="body2">
          <LastUse credential={credential} />
        </Typography>
        <Typography variant="body2" color="textSecondary">
          <Words text={lifeOf(credential)} />
        </Typography>
      </Box>
      {revokedAt === null && status !== 'pending' && (
        <IfRole role="operator">
          <Box>
            <Button color="error" size="small" aria-label={`Revoke ${label}`} onClick={onRevoke}>
              Revoke
            </Button>
          </Box>
        </IfRole>
      )}
    </Card>
  );
}

/** The partner's passwords: their state, their last use, and creating new ones. */
export function CredentialsTab({ partner }: { partner: ChannelUser }) {
  const query = useQuery({
    queryKey: ['channel-users', 'credentials', partner.id],
    queryFn: () => partnerApi.credentials(partner.id),
    refetchInterval: ({ state }) => (rotationOf(state.data?.items ?? []) ? WATCH_MS : false),
  });
  const links = useHandovers(partner.id, query.data?.items ?? []);
  const [isRotating, setRotating] = useState(false);
  const [showsAll, setShowsAll] = useState(false);
  const [revoking, setRevoking] = useState<Credential>();
  const [issued, setIssued] = useState<NewCredential>();
  const [asked, setAsked] = useState<'new-link' | 'withdraw'>();
  const items = query.data?.items ?? [];
  const live = items.filter(isLive);
  const rotation = rotationOf(items);
  const endAsked = (): void => {
    setAsked(undefined);
  };
  const show = (made: NewCredential): void => {
    setRotating(false);
    setAsked(undefined);
    setIssued(made);
  };
  return (
    <Stack spacing={4} useFlexGap>
      <Stack component="section" spacing={2} useFlexGap aria-label="Passwords">
        <Stack direction="row" spacing={2} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <Typography variant="h6" component="h2" sx={{ flexGrow: 1 }}>
            Passwords
          </Typography>
          {items.length > live.length && (
            <FormControlLabel
              control={
                <Switch
                  checked={showsAll}
                  onChange={(_, checked) => {
                    setShowsAll(checked);
                  }}
                />
              }
              label={`Show expired and revoked ones (${String(items.length - live.length)})`}
            />
          )}
          <IfRole role="operator">
            <Button
              variant="contained"
              startIcon={<AutorenewIcon />}
              disabled={query.data === undefined}
              onClick={() => {
                setRotating(true);
              }}
            >
              New password
            </Button>
          </IfRole>
        </Stack>
        {rotation && (
          <RotationState
            rotation={rotation}
            link={links.data?.items.find(({ credentialId }) => credentialId === rotation.next.id)}
            onNewLink={() => {
              setAsked('new-link');
            }}
            onWithdraw={() => {
              setAsked('withdraw');
            }}
            onEnd={setRevoking}
          />
        )}
        <Loaded query={query} what="the passwords" rows={2}>
          {(data) => {
            const shown = showsAll ? data.items : live;
            return shown.length === 0 ? (
              <Nothing>
                {NO_PASSWORD}
                <IfRole role="operator"> Create a new one.</IfRole>
              </Nothing>
            ) : (
              <Stack component="ul" spacing={1.5} useFlexGap sx={{ p: 0, m: 0, listStyle: 'none' }}>
                {shown.map((credential) => (
                  <CredentialCard
                    key={credential.id}
                    credential={credential}
                    all={data.items}
                    onRevoke={() => {
                      setRevoking(credential);
                    }}
                  />
                ))}
              </Stack>
            );
          }}
        </Loaded>
      </Stack>
      <Handovers partner={partner} credentials={items} query={links} />

      {isRotating && (
        <RotateDialog
          partner={partner}
          live={live}
          onClose={() => {
            setRotating(false);
          }}
          onIssued={show}
        />
      )}
      {asked === 'new-link' && rotation && (
        <NewLinkDialog partner={partner} rotation={rotation} onIssued={show} onClose={endAsked} />
      )}
      {asked === 'withdraw' && rotation && <WithdrawDialog partner={partner} rotation={rotation} onClose={endAsked} />}
      {revoking && (
        <RevokeCredential
          partner={partner}
          credential={revoking}
          live={live}
          onClose={() => {
            setRevoking(undefined);
          }}
        />
      )}
      {issued && (
        <IssuedCredential
          title={
            <>
              New password for <bdi>{partner.displayName}</bdi>
            </>
          }
          username={partner.username}
          issued={issued}
          onClose={() => {
            setIssued(undefined);
          }}
        />
      )}
    </Stack>
  );
}
