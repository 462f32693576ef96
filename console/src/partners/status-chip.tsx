import BlockIcon from '@mui/icons-material/Block';
import CheckIcon from '@mui/icons-material/CheckCircleOutlined';
import ExpiredIcon from '@mui/icons-material/EventBusy';
import { styled } from '@mui/material/styles';
import type { ReactElement } from 'react';
import type { ChannelUserStatus } from './partner-api.ts';
import { STATUS_WORDS } from './words.ts';

const LOOKS: Record<ChannelUserStatus, { color: 'success' | 'warning' | 'error'; icon: ReactElement }> = {
  active: { color: 'success', icon: <CheckIcon fontSize="inherit" /> },
  suspended: { color: 'error', icon: <BlockIcon fontSize="inherit" /> },
  expired: { color: 'warning', icon: <ExpiredIcon fontSize="inherit" /> },
};

/** Looks like Material UI's outlined chip, which is slow to render in a long list. */
const Outline = styled('span')(({ theme }) => ({
  display: 'inline-flex',
  alignItems: 'center',
  gap: 4,
  padding: '0 8px 0 6px',
  border: '1px solid',
  borderRadius: 12,
  fontSize: 13,
  lineHeight: '22px',
  whiteSpace: 'nowrap',
  '& svg': { fontSize: 18 },
  ...Object.fromEntries(
    (['success', 'warning', 'error'] as const).map((color) => [`&.${color}`, { color: theme.palette[color].main }]),
  ),
}));

/** A state by colour, icon and word, so that nobody has to rely on one of them. */
export function StatusChip({ status }: { status: ChannelUserStatus }) {
  const { color, icon } = LOOKS[status];
  return (
    <Outline className={color}>
      {icon}
      {STATUS_WORDS[status]}
    </Outline>
  );
}
