import AddIcon from '@mui/icons-material/Add';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import Chip from '@mui/material/Chip';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import FormControlLabel from '@mui/material/FormControlLabel';
import FormGroup from '@mui/material/FormGroup';
import FormHelperText from '@mui/material/FormHelperText';
import Stack from '@mui/material/Stack';
import Switch from '@mui/material/Switch';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useId, useState } from 'react';
import { useNotify } from 'react-admin';
import { Link } from 'react-router-dom';
import { api } from '../api.ts';
import { ConfirmDialog, CopyField, SecretOnce, Time } from '../feedback.tsx';
import { Page, Section } from '../page.tsx';
import { Loaded, Nothing } from '../partners/loading-states.tsx';
import { IfRole } from '../permissions.ts';
import { Refusal, useAction, useSubmission } from '../submission.tsx';
import type { NewWebhook, Schemas, Webhook } from '../types.ts';
import { EVENTS, nameOf } from './words.ts';

const WEBHOOKS = ['webhooks'];
const TYPES = Object.keys(EVENTS) as Webhook['events'];

type Fields = Pick<Webhook, 'url' | 'description' | 'events' | 'enabled'>;
const EMPTY: Fields = { url: '', description: null, events: [], enabled: true };

function WebhookForm({
  initial,
  verb,
  onSubmit,
  onClose,
}: {
  initial: Fields;
  verb: string;
  onSubmit: (fields: Fields) => Promise<void>;
  onClose: () => void;
}): ReactNode {
  const [fields, setFields] = useState(initial);
  const set = (change: Partial<Fields>): void => {
    setFields({ ...fields, ...change });
  };
  const submission = useSubmission(() => {
    const description = fields.description?.trim() ?? '';
    return onSubmit({ ...fields, url: fields.url.trim(), description: description === '' ? null : description });
  });
  const { errors, busy } = submission;
  const isAll = fields.events.length === 0;
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 1 }}>
        <Stack spacing={2} sx={{ pt: 1 }}>
          <TextField
            label="URL"
            type="url"
            value={fields.url}
            onChange={(event) => {
              set({ url: event.target.value });
            }}
            error={errors['url'] !== undefined}
            helperText={errors['url'] ?? 'https, at an address of the Internet.'}
            autoComplete="off"
            autoFocus
            fullWidth
          />
          <TextField
            label="Description (optional)"
            value={fields.description ?? ''}
            onChange={(event) => {
              set({ description: event.target.value });
            }}
            error={errors['description'] !== undefined}
            helperText={errors['description']}
            autoComplete="off"
            fullWidth
          />
          <FormGroup role="group" aria-label="What is sent">
            <FormControlLabel
              control={
                <Checkbox
                  checked={isAll}
                  onChange={(event) => {
                    set({ events: event.target.checked ? [] : [...TYPES] });
                  }}
                />
              }
              label="Everything, what is added later too"
            />
            {!isAll &&
              TYPES.map((type) => (
                <FormControlLabel
                  key={type}
                  sx={{ ml: 1 }}
                  control={
                    <Checkbox
                      checked={fields.events.includes(type)}
                      // None would be everything.
                      disabled={fields.events.length === 1 && fields.events.includes(type)}
                      onChange={(event) => {
                        const others = fields.events.filter((each) => each !== type);
                        set({ events: event.target.checked ? [...others, type] : others });
                      }}
                    />
                  }
                  label={EVENTS[type]}
                />
              ))}
            {errors['events'] !== undefined && <FormHelperText error>{errors['events']}</FormHelperText>}
          </FormGroup>
          <Refusal submission={submission} fields={['url', 'description', 'events']} />
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" variant="contained" loading={busy} disabled={fields.url.trim() === ''}>
          {verb}
        </Button>
      </DialogActions>
    </form>
  );
}

function WebhookDialog({
  open,
  title,
  ...form
}: { open: boolean; title: string } & Parameters<typeof WebhookForm>[0]): ReactNode {
  const titleId = useId();
  return (
    <Dialog open={open} onClose={form.onClose} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>{title}</DialogTitle>
      <WebhookForm {...form} />
    </Dialog>
  );
}

type Task = 'edit' | 'rotate' | 'delete';

function WebhookCard({ webhook, onSecret }: { webhook: Webhook; onSecret: (secret: string) => void }): ReactNode {
  const client = useQueryClient();
  const notify = useNotify();
  const [task, setTask] = useState<Task>();
  const { busy, run } = useAction();
  const path = `/admin/webhooks/${webhook.id}`;
  const close = (): void => {
    setTask(undefined);
  };
  const changed = (): Promise<void> => client.invalidateQueries({ queryKey: WEBHOOKS });
  const choose = (chosen: Task) => () => {
    setTask(chosen);
  };
  const send = (work: Promise<unknown>, text: string): void => {
    void run(work, text).then(changed);
  };
  const edit = async ({ url, description, events }: Fields): Promise<void> => {
    await api('PATCH', path, { json: { url, description, events } });
    await changed();
    close();
    notify('Saved.', { type: 'success' });
  };
  const rotate = async (): Promise<void> => {
    const { data } = await api<NewWebhook>('POST', `${path}/rotate-secret`, { json: {} });
    onSecret(data.secret);
    await changed();
  };
  const remove = async (): Promise<void> => {
    await api('DELETE', path);
    await changed();
    notify('Removed.', { type: 'success' });
  };
  const name = nameOf(webhook);
  return (
    <Card variant="outlined" sx={{ p: 1.5 }} component="li">
      <Stack spacing={1}>
        <Stack direction="row" spacing={1} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <Chip
            size="small"
            variant="outlined"
            color={webhook.enabled ? 'success' : webhook.disabledReason === null ? 'default' : 'error'}
            label={webhook.enabled ? 'Enabled' : webhook.disabledReason === null ? 'Disabled' : 'Disabled: gone (410)'}
          />
          <Typography component="h3" sx={{ fontWeight: 600, overflowWrap: 'anywhere' }}>
            {name}
          </Typography>
        </Stack>
        <Typography component="code" variant="body2" sx={{ fontFamily: 'monospace', overflowWrap: 'anywhere' }}>
          {webhook.url}
        </Typography>
        <Typography variant="body2" color="textSecondary" component="div">
          {webhook.events.length === 0 ? 'Everything' : webhook.events.map((type) => EVENTS[type]).join(' · ')}
          {webhook.previousSecretUntil !== null && (
            <>
              <br />
              The secret before signs too until <Time value={webhook.previousSecretUntil} />
            </>
          )}
        </Typography>
        <IfRole role="admin">
          <Stack direction="row" spacing={1} useFlexGap sx={{ flexWrap: 'wrap', alignItems: 'center' }}>
            <FormControlLabel
              control={
                <Switch
                  size="small"
                  checked={webhook.enabled}
                  disabled={busy}
                  onChange={(event) => {
                    const enabled = event.target.checked;
                    send(
                      api('PATCH', path, { json: { enabled } }),
                      enabled ? 'Enabled.' : 'Disabled. What waits goes on waiting.',
                    );
                  }}
                  slotProps={{ input: { 'aria-label': `Send to ${name}` } }}
                />
              }
              label="Send"
            />
            <Button
              size="small"
              disabled={!webhook.enabled}
              loading={busy}
              onClick={() => {
                send(api('POST', `${path}/test`), 'A test is on its way; see Notices.');
              }}
            >
              Send a test
            </Button>
            <Button size="small" onClick={choose('edit')}>
              Edit
            </Button>
            <Button size="small" onClick={choose('rotate')}>
              New secret
            </Button>
            <Button size="small" color="error" onClick={choose('delete')}>
              Remove
            </Button>
          </Stack>
        </IfRole>
      </Stack>
      <WebhookDialog
        open={task === 'edit'}
        title={`Edit ${name}`}
        initial={webhook}
        verb="Save"
        onSubmit={edit}
        onClose={close}
      />
      <ConfirmDialog
        open={task === 'rotate'}
        title={`A new secret for ${name}?`}
        confirmLabel="Make a new secret"
        onConfirm={rotate}
        onClose={close}
      >
        It is shown once. For a day both sign, so that the receiver can change over without missing anything.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'delete'}
        title={`Remove ${name}?`}
        confirmLabel="Remove"
        danger
        onConfirm={remove}
        onClose={close}
      >
        What waits to be sent there is dropped. To pause it, switch it off instead.
      </ConfirmDialog>
    </Card>
  );
}

/** Where notices are sent. */
export default function Webhooks(): ReactNode {
  const client = useQueryClient();
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<string>();
  const query = useQuery({
    queryKey: WEBHOOKS,
    queryFn: async () => (await api<Schemas['WebhookListDto']>('GET', '/admin/webhooks')).data.items,
  });
  const create = async (fields: Fields): Promise<void> => {
    const { data } = await api<NewWebhook>('POST', '/admin/webhooks', { json: fields });
    setAdding(false);
    setSecret(data.secret);
    await client.invalidateQueries({ queryKey: WEBHOOKS });
  };
  return (
    <Page
      title="Webhooks"
      actions={
        <IfRole role="admin">
          <Button
            variant="contained"
            startIcon={<AddIcon />}
            onClick={() => {
              setAdding(true);
            }}
          >
            Add webhook
          </Button>
        </IfRole>
      }
    >
      <Section title="Where notices are sent">
        <Typography color="textSecondary">
          Each notice is posted as JSON, signed with the webhook’s secret, and tried again for about three days. What
          became of it is under <Link to="/notices">Notices</Link>.
        </Typography>
        <Loaded query={query} what="the webhooks">
          {(webhooks) =>
            webhooks.length === 0 ? (
              <Nothing>There is none yet: notices can only be seen here.</Nothing>
            ) : (
              <Stack component="ul" spacing={1.5} sx={{ p: 0, m: 0, listStyle: 'none' }}>
                {webhooks.map((webhook) => (
                  <WebhookCard key={webhook.id} webhook={webhook} onSecret={setSecret} />
                ))}
              </Stack>
            )
          }
        </Loaded>
      </Section>
      <WebhookDialog
        open={adding}
        title="Add a webhook"
        initial={EMPTY}
        verb="Add"
        onSubmit={create}
        onClose={() => {
          setAdding(false);
        }}
      />
      <SecretOnce
        open={secret !== undefined}
        title="The secret of this webhook"
        onClose={() => {
          setSecret(undefined);
        }}
      >
        <Typography>The receiver needs it to verify signatures (Standard Webhooks).</Typography>
        <CopyField label="Secret" value={secret ?? ''} secret />
      </SecretOnce>
    </Page>
  );
}
