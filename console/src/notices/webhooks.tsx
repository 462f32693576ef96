import AddIcon from '@mui/icons-material/Add';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import Chip from '@mui/material/Chip';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import FormControlLabel from '@mui/material/FormControlLabel';
import FormGroup from '@mui/material/FormGroup';
import FormHelperText from '@mui/material/FormHelperText';
import Stack from '@mui/material/Stack';
import Switch from '@mui/material/Switch';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useNotify } from 'react-admin';
import { Link } from 'react-router-dom';
import { api } from '../api.ts';
import { ConfirmDialog, CopyField, SecretOnce, Time } from '../feedback.tsx';
import { FormDialog } from '../leave-guard.tsx';
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

/** Checks the form of a URL. The API checks where it leads. */
function urlProblem(text: string): string | undefined {
  if (/^https?:\/\//i.test(text))
    return URL.canParse(text) ? undefined : 'Must be an https URL. This one is not valid.';
  const meant = /^[a-z][a-z0-9+.-]*:/i.test(text) ? null : URL.parse(`https://${text}`);
  return `Must be an https URL, beginning with https://.${meant ? ` Did you mean ${meant.href}?` : ''}`;
}

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
  const submission = useSubmission(
    () => {
      const description = fields.description?.trim() ?? '';
      return onSubmit({ ...fields, url: fields.url.trim(), description: description === '' ? null : description });
    },
    JSON.stringify(fields) !== JSON.stringify(initial),
    () => ({ url: urlProblem(fields.url.trim()) }),
  );
  const { errors, busy } = submission;
  const isAll = fields.events.length === 0;
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 1 }}>
        <Stack spacing={2} sx={{ pt: 1 }}>
          <TextField
            label="Address (URL)"
            type="url"
            value={fields.url}
            onChange={(event) => {
              set({ url: event.target.value });
            }}
            error={errors['url'] !== undefined}
            helperText={
              errors['url'] ??
              'The https address on the Internet where your program receives notices. It need not be running yet: failed deliveries are retried for about three days.'
            }
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
          <FormGroup role="group" aria-label="Notices to send">
            <FormControlLabel
              control={
                <Checkbox
                  checked={isAll}
                  onChange={(event) => {
                    set({ events: event.target.checked ? [] : [...TYPES] });
                  }}
                />
              }
              label="All kinds of notices, including those added by later versions"
            />
            {!isAll &&
              TYPES.map((type) => (
                <FormControlLabel
                  key={type}
                  sx={{ ml: 1 }}
                  control={
                    <Checkbox
                      checked={fields.events.includes(type)}
                      // The last event stays selected, since no event would mean all events.
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
}: { open: boolean; title: ReactNode } & Parameters<typeof WebhookForm>[0]): ReactNode {
  return (
    <FormDialog open={open} title={title} onClose={form.onClose}>
      <WebhookForm {...form} />
    </FormDialog>
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
    // Sends the URL only if it was changed, since the API may have shortened it when reading.
    await api('PATCH', path, { json: { ...(url !== webhook.url && { url }), description, events } });
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
              The previous secret also signs until <Time value={webhook.previousSecretUntil} />
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
                      enabled ? 'Enabled.' : 'Disabled. Pending notices wait.',
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
                send(api('POST', `${path}/test`), 'A test notice is being sent. See Notices for the result.');
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
        title={
          <>
            Edit <bdi>{name}</bdi>
          </>
        }
        initial={webhook}
        verb="Save"
        onSubmit={edit}
        onClose={close}
      />
      <ConfirmDialog
        open={task === 'rotate'}
        title={
          <>
            A new secret for <bdi>{name}</bdi>?
          </>
        }
        confirmLabel="Create a new secret"
        onConfirm={rotate}
        onClose={close}
      >
        The new secret is shown only once. Both secrets sign for one day, so that the receiver can switch without
        missing a notice.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'delete'}
        title={
          <>
            Remove <bdi>{name}</bdi>?
          </>
        }
        confirmLabel="Remove"
        danger
        onConfirm={remove}
        onClose={close}
      >
        Notices waiting to be sent there are discarded. To pause the webhook, disable it instead.
      </ConfirmDialog>
    </Card>
  );
}

/** The webhooks that notices are sent to. */
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
          Latchkey posts each notice as JSON, signed with the webhook’s secret, and retries for about three days. The
          results are under <Link to="/notices">Notices</Link>.
        </Typography>
        <Loaded query={query} what="the webhooks">
          {(webhooks) =>
            webhooks.length === 0 ? (
              <Nothing>There are no webhooks yet. Notices appear only in this console.</Nothing>
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
        what="The secret"
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
