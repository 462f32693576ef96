import BlockIcon from '@mui/icons-material/Block';
import CheckIcon from '@mui/icons-material/CheckCircleOutlined';
import ExpiredIcon from '@mui/icons-material/EventBusy';
import Chip from '@mui/material/Chip';
import type { ReactElement } from 'react';
import type { ChannelUserStatus } from './partner-api.ts';
import { STATUS_WORDS } from './words.ts';

const LOOKS: Record<ChannelUserStatus, { color: 'success' | 'warning' | 'error'; icon: ReactElement }> = {
  active: { color: 'success', icon: <CheckIcon /> },
  suspended: { color: 'error', icon: <BlockIcon /> },
  expired: { color: 'warning', icon: <ExpiredIcon /> },
};

/** A state in colour, sign and word, so that none of them is needed alone. */
export function StatusChip({ status }: { status: ChannelUserStatus }) {
  return <Chip size="small" variant="outlined" label={STATUS_WORDS[status]} {...LOOKS[status]} />;
}
