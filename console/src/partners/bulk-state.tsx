import BlockIcon from '@mui/icons-material/Block';
import PlayIcon from '@mui/icons-material/PlayArrow';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import LinearProgress from '@mui/material/LinearProgress';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { type SyntheticEvent, useRef, useState } from 'react';
import { useListContext } from 'react-admin';
import { messageOf } from '../feedback.tsx';
import { FormDialog, TYPED, useUnsaved } from '../leave-guard.tsx';
import { type ChannelUser, partnerApi } from './partner-api.ts';
import { countOf } from './words.ts';

type Change = 'suspend' | 'reactivate';

/** A requested change, and the partners that were selected at that time. */
export interface BulkChange {
  readonly change: Change;
  readonly ids: readonly string[];
}

const WORDS = {
  suspend: {
    verb: 'Suspend',
    done: 'suspended',
    effect: 'They get no new tokens, and their existing tokens are refused from the next call on.',
  },
  reactivate: {
    verb: 'Reactivate',
    done: 'reactivated',
    effect: 'They can get tokens again, and their unexpired tokens work again.',
  },
} as const;

/** Requests in progress at a time. */
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

/** Changes many partners: asks for the reason, and shows progress and failures. */
export function BulkDialog({ change, ids, onClose }: BulkChange & { onClose: () => void }) {
  const queries = useQueryClient();
  const { onUnselectItems, onSelect } = useListContext<ChannelUser>();
  const [reason, setReason] = useState('');
  const [progress, setProgress] = useState<Progress>();
  const [isRunning, setRunning] = useState(false);
  const isStopped = useRef(false);
  useUnsaved(isRunning, 'input', 'The rest of this change');
  useUnsaved(progress === undefined && reason.trim() !== '', 'input', TYPED);
  /** Partners that are not changed yet, which stay selected. */
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
    // Partners that were never tried stay selected, even after a retry of the failed ones.
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
    <FormDialog open title={`${verb} ${countOf(ids.length, 'partner', 'partners')}?`} busy={isRunning} onClose={close}>
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
                  helperText="Recorded in the audit trail of each partner."
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
                  {skipped > 0 && ` ${skipped.toLocaleString()} not changed, because you stopped.`}
                </Alert>
              )}
            </div>
            {progress && progress.failures.length > 0 && (
              <Box component="ul" aria-label="What failed" sx={{ m: 0, pl: 2.5, maxHeight: 240, overflow: 'auto' }}>
                {progress.failures.map(({ id, message }) => (
                  <li key={id}>
                    <strong>
                      <bdi>{nameOf(id)}</bdi>
                    </strong>
                    : {message}
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
          {isFinished && progress.failures.length > 0 && <Button type="submit">Retry the failed ones</Button>}
          {isFinished && (
            <Button variant="contained" onClick={close}>
              Close
            </Button>
          )}
        </DialogActions>
      </form>
    </FormDialog>
  );
}

/** Buttons above the list while partners are selected. The dialog is elsewhere, so that it survives a new layout. */
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
