import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Chip from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useNotify } from 'react-admin';
import { WATCH_MS } from '../../../src/partner-page/words/rotation.ts';
import { ConfirmDialog, Time } from '../feedback.tsx';
import { IfRole } from '../permissions.ts';
import { Loaded, Nothing } from './loading-states.tsx';
import { type ChannelUser, type Credential, type Handover, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';

const STATUS = {
  waiting: { label: 'Not opened yet', color: 'primary' },
  revealed: { label: 'Used', color: 'success' },
  expired: { label: 'Expired unused', color: 'warning' },
  revoked: { label: 'Revoked', color: 'default' },
} as const;

function Story({ handover }: { handover: Handover }) {
  const { status, createdAt, expiresAt, revealedAt, revealedAddress } = handover;
  return (
    <>
      Created <Time value={createdAt} />
      {status === 'waiting' && (
        <>
          {' · '}works until <Time value={expiresAt} />
        </>
      )}
      {status === 'expired' && (
        <>
          {' · '}expired <Time value={expiresAt} />
        </>
      )}
      {revealedAt !== null && (
        <>
          {' · '}password shown <Time value={revealedAt} />
          {revealedAddress !== null && ` to ${revealedAddress}`}
        </>
      )}
    </>
  );
}

/** Reads the partner's links, again and again while a new password waits for its first use. */
export function useHandovers(id: string, credentials: readonly Credential[]) {
  const isPending = credentials.some(({ status }) => status === 'pending');
  return useQuery({
    queryKey: ['channel-users', 'handovers', id],
    queryFn: () => partnerApi.handovers(id),
    refetchInterval: isPending ? WATCH_MS : false,
  });
}

interface HandoversProps {
  readonly partner: ChannelUser;
  readonly credentials: readonly Credential[];
  readonly query: ReturnType<typeof useHandovers>;
}

/** The partner's one-time links: whether, when and from where they were used. */
export function Handovers({ partner, credentials, query }: HandoversProps) {
  const [revoking, setRevoking] = useState<Handover>();
  const notify = useNotify();
  const refresh = useRefreshPartners();
  const isPending = (id: string | undefined): boolean =>
    credentials.some((credential) => credential.id === id && credential.status === 'pending');
  const labelOf = (id: string): string => credentials.find((credential) => credential.id === id)?.label ?? 'a password';
  return (
    <Stack component="section" spacing={2} useFlexGap aria-label="One-time links">
      <Typography variant="h6" component="h2">
        One-time links
      </Typography>
      <Loaded query={query} what="the links" rows={1}>
        {({ items }) =>
          items.length === 0 ? (
            <Nothing>No links were created for this partner.</Nothing>
          ) : (
            <Stack component="ul" spacing={1.5} useFlexGap sx={{ p: 0, m: 0, listStyle: 'none' }}>
              {items.map((handover) => (
                <Card
                  key={handover.id}
                  component="li"
                  variant="outlined"
                  sx={{ p: 2, display: 'flex', gap: 2, flexWrap: 'wrap' }}
                >
                  <Box sx={{ flex: '1 1 260px', minWidth: 0, overflowWrap: 'anywhere' }}>
                    <Stack
                      direction="row"
                      spacing={1}
                      useFlexGap
                      sx={{ alignItems: 'center', flexWrap: 'wrap', mb: 0.5 }}
                    >
                      <Typography variant="subtitle1" component="h3">
                        Link for {labelOf(handover.credentialId)}
                      </Typography>
                      <Chip size="small" variant="outlined" {...STATUS[handover.status]} />
                    </Stack>
                    <Typography variant="body2" color="textSecondary">
                      <Story handover={handover} />
                    </Typography>
                  </Box>
                  {handover.status === 'waiting' && (
                    <IfRole role="operator">
                      <Box>
                        <Button
                          color="error"
                          size="small"
                          aria-label={`Revoke the link for ${labelOf(handover.credentialId)}`}
                          onClick={() => {
                            setRevoking(handover);
                          }}
                        >
                          Revoke
                        </Button>
                      </Box>
                    </IfRole>
                  )}
                </Card>
              ))}
            </Stack>
          )
        }
      </Loaded>
      <ConfirmDialog
        open={revoking !== undefined}
        title="Revoke the link?"
        confirmLabel="Revoke"
        danger
        onConfirm={async () => {
          if (revoking) await partnerApi.revokeHandover(partner.id, revoking.id);
          notify('The link is revoked.', { type: 'success' });
          await refresh();
        }}
        onClose={() => {
          setRevoking(undefined);
        }}
      >
        <Typography>
          The link will only tell people to ask for a new one, and nobody can see the password behind it.{' '}
          {isPending(revoking?.credentialId)
            ? 'The new password is withdrawn with it, and the old ones go on.'
            : 'The password stays in the list above until you revoke it too.'}
        </Typography>
      </ConfirmDialog>
    </Stack>
  );
}
