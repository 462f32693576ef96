import EditIcon from '@mui/icons-material/Edit';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { type ReactNode, useState } from 'react';
import { Form, RecordContextProvider, SaveButton, useNotify } from 'react-admin';
import { ApiError } from '../api.ts';
import { refusalOf, submissionErrors, Time } from '../feedback.tsx';
import { FormGuard } from '../leave-guard.tsx';
import { IfRole } from '../permissions.ts';
import { type Conflict, ConflictNotice } from './conflict-notice.tsx';
import { changesOf } from './limits.ts';
import { type ChannelUser, type Limits, partnerApi } from './partner-api.ts';
import { FIELD_WORDS, FieldInputs, FieldValue, LIMIT_NAMES } from './partner-fields.tsx';
import { FieldGrid } from './partner-inputs.tsx';
import { useRefreshPartners } from './state-actions.tsx';

const limitsOf = (partner: ChannelUser): Limits =>
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, partner[name]])) as unknown as Limits;

/** Edits the version that the form was opened with. If there is a newer one, saving is refused and keeps the input. */
function AccountForm({ partner, onDone }: { partner: ChannelUser; onDone: () => void }) {
  const [opened] = useState(() => limitsOf(partner));
  const [base, setBase] = useState(partner);
  const [conflict, setConflict] = useState<Conflict>();
  const [failure, setFailure] = useState<unknown>();
  const notify = useNotify();
  const refresh = useRefreshPartners();

  const save = async (values: Partial<Limits>): Promise<Record<string, unknown>> => {
    setFailure(undefined);
    const changes = changesOf(limitsOf(base), { ...limitsOf(base), ...values });
    try {
      if (Object.keys(changes).length > 0) {
        await partnerApi.update(partner.id, base.version, changes);
        notify('Saved.', { type: 'success' });
      }
      onDone();
      await refresh();
      return {};
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) {
        await showConflict();
        return submissionErrors(error);
      }
      setFailure(error);
      return submissionErrors(error);
    }
  };
  const showConflict = async (): Promise<void> => {
    try {
      const theirs = await partnerApi.get(partner.id);
      setConflict({ before: limitsOf(base), theirs });
      setBase(theirs);
    } catch (error) {
      setFailure(error);
    }
  };

  return (
    // Hides the page's record, whose refresh would overwrite the values of the form.
    <RecordContextProvider value={undefined}>
      <Form
        noValidate
        defaultValues={opened}
        onSubmit={save}
        // The form shows its own message. A notification would cover its buttons.
        disableInvalidFormNotification
      >
        <FormGuard />
        <Stack spacing={3} useFlexGap>
          {conflict && <ConflictNotice {...conflict} />}
          <FieldGrid>
            <FieldInputs section="who" />
            <FieldInputs section="limits" />
          </FieldGrid>
          {failure !== undefined && <Alert severity="error">{refusalOf(failure, FIELD_WORDS)}</Alert>}
          <Stack direction="row" spacing={2} useFlexGap>
            <SaveButton label={conflict ? 'Save again' : 'Save'} alwaysEnable />
            <Button onClick={onDone}>Cancel</Button>
          </Stack>
        </Stack>
      </Form>
    </RecordContextProvider>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Box sx={{ minWidth: 0 }}>
      <Typography component="dt" variant="body2" color="textSecondary">
        {name}
      </Typography>
      <Typography component="dd" sx={{ m: 0, overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
        {children}
      </Typography>
    </Box>
  );
}

/** The partner's fields and limits, which operators can edit here. */
export function AccountTab({ partner }: { partner: ChannelUser }) {
  const [isEditing, setEditing] = useState(false);
  if (isEditing) {
    return (
      <AccountForm
        partner={partner}
        onDone={() => {
          setEditing(false);
        }}
      />
    );
  }
  return (
    <Stack spacing={3} useFlexGap>
      <Box
        component="dl"
        sx={{ m: 0, display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fill, minmax(min(100%, 260px), 1fr))' }}
      >
        {LIMIT_NAMES.map((name) => (
          <Fact key={name} name={FIELD_WORDS[name]}>
            <FieldValue name={name} value={partner[name]} />
          </Fact>
        ))}
        <Fact name="Last token">
          {partner.lastTokenAt === null ? 'never' : <Time value={partner.lastTokenAt} relative />}
        </Fact>
        <Fact name="Added">
          <Time value={partner.createdAt} />
        </Fact>
        <Fact name="Last changed">
          <Time value={partner.updatedAt} />
        </Fact>
      </Box>
      <IfRole role="operator">
        <Box>
          <Button
            variant="outlined"
            startIcon={<EditIcon />}
            onClick={() => {
              setEditing(true);
            }}
          >
            Edit
          </Button>
        </Box>
      </IfRole>
    </Stack>
  );
}
