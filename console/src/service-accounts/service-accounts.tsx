import AddIcon from '@mui/icons-material/Add';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api } from '../api.ts';
import { CopyField, SecretOnce } from '../feedback.tsx';
import { Page, Section } from '../page.tsx';
import { Loaded, Nothing } from '../partners/loading-states.tsx';
import type { NewServiceAccount, Schemas } from '../types.ts';
import { AccountCard } from './account-card.tsx';
import { AccountDialog, type Fields } from './account-form.tsx';
import { SERVICE_ACCOUNTS } from './words.ts';

const EMPTY: Fields = { name: '', role: 'operator', expiresAt: null, allowedIps: [] };

/** A key that was just created. It is kept only in this state. */
type Issued = Pick<NewServiceAccount, 'name' | 'key'>;

/** The identities of scripts, and their keys. */
export default function ServiceAccounts(): ReactNode {
  const client = useQueryClient();
  const [isAdding, setAdding] = useState(false);
  const [issued, setIssued] = useState<Issued>();
  const query = useQuery({
    queryKey: SERVICE_ACCOUNTS,
    queryFn: async () => (await api<Schemas['ServiceAccountListDto']>('GET', '/admin/service-accounts')).data.items,
  });
  const create = async (fields: Partial<Fields>): Promise<void> => {
    const json = { role: EMPTY.role, ...fields };
    const { data } = await api<NewServiceAccount>('POST', '/admin/service-accounts', { json });
    setAdding(false);
    setIssued(data);
    await client.invalidateQueries({ queryKey: SERVICE_ACCOUNTS });
  };
  return (
    <Page
      title="Service accounts"
      actions={
        <Button
          variant="contained"
          startIcon={<AddIcon />}
          onClick={() => {
            setAdding(true);
          }}
        >
          Add service account
        </Button>
      }
    >
      <Section title="Scripts that provision">
        <Typography color="textSecondary">
          A script sends its key as <code>Authorization: Bearer …</code> and does what its role may do. It cannot sign
          in here, and cannot reach staff, service accounts, settings or signing keys.
        </Typography>
        <Loaded query={query} what="the service accounts">
          {(accounts) =>
            accounts.length === 0 ? (
              <Nothing>There are no service accounts yet.</Nothing>
            ) : (
              <Stack component="ul" spacing={1.5} sx={{ p: 0, m: 0, listStyle: 'none' }}>
                {accounts.map((account) => (
                  <AccountCard key={account.id} account={account} onKey={setIssued} />
                ))}
              </Stack>
            )
          }
        </Loaded>
      </Section>
      <AccountDialog
        open={isAdding}
        title="Add a service account"
        initial={EMPTY}
        verb="Create"
        onSubmit={create}
        onClose={() => {
          setAdding(false);
        }}
      />
      <SecretOnce
        open={issued !== undefined}
        title={
          <>
            The key of <bdi>{issued?.name}</bdi>
          </>
        }
        what="The key"
        doneLabel="I have saved the key"
        onClose={() => {
          setIssued(undefined);
        }}
      >
        <CopyField label="Key" value={issued?.key ?? ''} secret />
        <Typography>
          Put it into the secret store of the script, never into its code. Secret scanners recognise it by{' '}
          <code>lk_sa_</code>.
        </Typography>
      </SecretOnce>
    </Page>
  );
}
