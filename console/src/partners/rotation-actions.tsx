import Alert from '@mui/material/Alert';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useState } from 'react';
import { useNotify } from 'react-admin';
import type { Rotation } from '../../../src/partner-page/words/rotation.ts';
import { ConfirmDialog } from '../feedback.tsx';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { type ChannelUser, type Credential, type NewCredential, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';

interface ActionProps {
  readonly partner: ChannelUser;
  readonly rotation: Rotation<Credential>;
  readonly onClose: () => void;
}

/** Replaces a pending password by another one, since nobody can show a password twice. */
export function NewLinkDialog({
  partner,
  rotation: { next },
  onIssued,
  onClose,
}: ActionProps & { readonly onIssued: (made: NewCredential) => void }) {
  const refresh = useRefreshPartners();
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  return (
    <ConfirmDialog
      open
      title={
        <>
          A new link for <bdi>{partner.displayName}</bdi>
        </>
      }
      confirmLabel={delivery.deliver === 'link' ? 'Create link' : 'Create password'}
      onConfirm={async () => {
        const made = await partnerApi.rotate(partner.id, {
          replaces: next.id,
          label: next.label,
          expiresAt: next.expiresAt,
          ...(next.retireOthers && { retireOthers: next.retireOthers }),
          ...delivery,
        });
        onIssued(made);
        await refresh();
      }}
      onClose={onClose}
    >
      <Stack spacing={2} useFlexGap>
        <Typography>
          A password can be shown only once, so the partner gets another new password. The one that waits now is
          withdrawn, together with its link. The old ones go on.
        </Typography>
        <DeliveryChoice value={delivery} onChange={setDelivery} />
      </Stack>
    </ConfirmDialog>
  );
}

/** Ends a rotation before the new password was used. */
export function WithdrawDialog({ partner, rotation: { next, old }, onClose }: ActionProps) {
  const notify = useNotify();
  const refresh = useRefreshPartners();
  return (
    <ConfirmDialog
      open
      title={
        <>
          Withdraw the new password “<bdi>{next.label}</bdi>”?
        </>
      }
      confirmLabel="Withdraw"
      danger
      onConfirm={async () => {
        await partnerApi.withdrawCredential(partner.id, next.id);
        notify('The new password is withdrawn.', { type: 'success' });
        await refresh();
      }}
      onClose={onClose}
    >
      <Stack spacing={2} useFlexGap>
        <Typography>
          The new password and its link stop working now. This cannot be undone.
          {old.length > 0 && ' The old ones go on as if nothing had happened.'}
        </Typography>
        {old.length === 0 && (
          <Alert severity="warning">
            No other password works. <bdi>{partner.displayName}</bdi> cannot sign in until you create a new one.
          </Alert>
        )}
      </Stack>
    </ConfirmDialog>
  );
}
