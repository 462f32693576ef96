import BlockIcon from '@mui/icons-material/Block';
import PlayIcon from '@mui/icons-material/PlayArrow';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import LinearProgress from '@mui/material/LinearProgress';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { type SyntheticEvent, useId, useRef, useState } from 'react';
import { useListContext } from 'react-admin';
import { messageOf } from '../feedback.tsx';
import { type ChannelUser, partnerApi } from './partner-api.ts';
import { countOf } from './words.ts';

type Change = 'suspend' | 'reactivate';

/** What was asked for, and for whom: those that were selected then. */
export interface BulkChange {
  readonly change: Change;
  readonly ids: readonly string[];
}

const WORDS = {
  suspend: {
    verb: 'Suspend',
    done: 'suspended',
    effect: 'They get no tokens, and those they have are refused, from the next call on.',
  },
  reactivate: {
    verb: 'Reactivate',
    done: 'reactivated',
    effect: 'They may fetch tokens again, and tokens that have not ended work again.',
  },
} as const;

/** Requests under way at a time. */
const AT_ONCE = 4;

interface Failure {
  readonly id: string;
  readonly message: string;
}

interface Progress {
  readonly total: number;
  readonly done: number;
  readonly failures: readonly Failure[];
}

/** One change for many partners: asks for the reason, shows how far it is, and what did not work and why. */
export function BulkDialog({ change, ids, onClose }: BulkChange & { onClose: () => void }) {
  const titleId = useId();
  const queries = useQueryClient();
  const { onUnselectItems, onSelect } = useListContext<ChannelUser>();
  const [reason, setReason] = useState('');
  const [progress, setProgress] = useState<Progress>();
  const [isRunning, setRunning] = useState(false);
  const isStopped = useRef(false);
  /** What is left to do stays selected. */
  const left = useRef(ids);
  const { verb, done, effect } = WORDS[change];
  const needsReason = change === 'suspend';

  const nameOf = (id: string): string =>
    queries.getQueryData<ChannelUser>(['channel-users', 'getOne', { id }])?.displayName ?? id;

  const run = async (todo: readonly string[]): Promise<void> => {
    isStopped.current = false;
    setRunning(true);
    const failures: Failure[] = [];
    let finished = 0;
    const queue = [...todo];
    const show = (): void => {
      setProgress({ total: todo.length, done: finished, failures: [...failures] });
    };
    show();
    const work = async (): Promise<void> => {
      for (let id = queue.shift(); id !== undefined && !isStopped.current; id = queue.shift()) {
        try {
          await partnerApi[change](id, reason.trim());
        } catch (error) {
          failures.push({ id, message: messageOf(error) });
        }
        finished++;
        show();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    // What was stopped before it began stays selected also when the failed ones are tried again.
    const untried = left.current.filter((id) => !todo.includes(id));
    left.current = [...failures.map(({ id }) => id), ...todo.slice(finished), ...untried];
    setRunning(false);
    void queries.invalidateQueries({ queryKey: ['channel-users'] });
    void queries.invalidateQueries({ queryKey: ['overview'] });
  };

  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (!needsReason || reason.trim() !== '') void run(progress ? progress.failures.map(({ id }) => id) : ids);
  };
  const isFinished = progress !== undefined && !isRunning;
  const succeeded = progress ? progress.done - progress.failures.length : 0;
  const skipped = progress ? progress.total - progress.done : 0;
  const close = (): void => {
    if (isRunning) return;
    if (left.current.length === 0) onUnselectItems();
    else onSelect([...left.current]);
    onClose();
  };

  return (
    <Dialog open onClose={close} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>
        {verb} {countOf(ids.length, 'partner', 'partners')}?
      </DialogTitle>
      <form onSubmit={submit} noValidate>
        <DialogContent sx={{ pt: 0 }}>
          <Stack spacing={2} useFlexGap>
            {progress === undefined && (
              <>
                <Typography>{effect}</Typography>
                <TextField
                  autoFocus
                  fullWidth
                  multiline
                  maxRows={4}
                  required={needsReason}
                  label={needsReason ? 'Reason' : 'Reason (optional)'}
                  value={reason}
                  onChange={({ target }) => {
                    setReason(target.value);
                  }}
                  helperText="Kept in the audit trail of each."
                  slotProps={{ htmlInput: { maxLength: 500 } }}
                />
              </>
            )}
            {progress && (
              <Box>
                <LinearProgress
                  variant="determinate"
                  value={(100 * progress.done) / progress.total}
                  aria-label={`${verb} partners`}
                />
                <Typography variant="body2" sx={{ mt: 1 }}>
                  {progress.done.toLocaleString()} of {progress.total.toLocaleString()}
                </Typography>
              </Box>
            )}
            <div role="status">
              {isFinished && (
                <Alert severity={succeeded === progress.total ? 'success' : 'warning'}>
                  {countOf(succeeded, 'partner', 'partners')} {done}.
                  {progress.failures.length > 0 && ` ${progress.failures.length.toLocaleString()} could not be.`}
                  {skipped > 0 && ` ${skipped.toLocaleString()} left as they were: you stopped.`}
                </Alert>
              )}
            </div>
            {progress && progress.failures.length > 0 && (
              <Box component="ul" aria-label="What failed" sx={{ m: 0, pl: 2.5, maxHeight: 240, overflow: 'auto' }}>
                {progress.failures.map(({ id, message }) => (
                  <li key={id}>
                    <strong>{nameOf(id)}</strong>: {message}
                  </li>
                ))}
              </Box>
            )}
          </Stack>
        </DialogContent>
        <DialogActions>
          {isRunning && (
            <Button
              onClick={() => {
                isStopped.current = true;
              }}
            >
              Stop
            </Button>
          )}
          {progress === undefined && <Button onClick={close}>Cancel</Button>}
          {progress === undefined && (
            <Button
              type="submit"
              variant="contained"
              color={change === 'suspend' ? 'error' : 'primary'}
              disabled={needsReason && reason.trim() === ''}
            >
              {verb}
            </Button>
          )}
          {isFinished && progress.failures.length > 0 && <Button type="submit">Try the failed ones again</Button>}
          {isFinished && (
            <Button variant="contained" onClick={close}>
              Close
            </Button>
          )}
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** Above the list while partners are selected. The dialog is not part of it: it stays when the list is laid out anew. */
export function BulkState({ onAsk }: { onAsk: (asked: BulkChange) => void }) {
  const { selectedIds } = useListContext<ChannelUser>();
  const ask = (change: Change) => () => {
    onAsk({ change, ids: [...selectedIds] });
  };
  return (
    <>
      <Button size="small" startIcon={<BlockIcon />} onClick={ask('suspend')}>
        Suspend
      </Button>
      <Button size="small" startIcon={<PlayIcon />} onClick={ask('reactivate')}>
        Reactivate
      </Button>
    </>
  );
}
