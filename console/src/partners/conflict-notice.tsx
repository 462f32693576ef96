import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useEffect, useState } from 'react';
import { useFormContext, useWatch } from 'react-hook-form';
import type { ChannelUser, Limits } from './partner-api.ts';
import { isSame } from './limits.ts';
import { FIELD_WORDS, LIMIT_NAMES, shownAs } from './partner-fields.tsx';

export interface Conflict {
  /** The values that the form was opened with. */
  readonly before: Limits;
  /** The partner as someone else has saved it since. */
  readonly theirs: ChannelUser;
}

type Choice = 'theirs' | 'mine';

/**
 * Shows each field that someone else saved first. Fields that only they changed are taken over. Where both changed a
 * field, the person chooses, and their own input stays until then.
 */
export function ConflictNotice({ before, theirs }: Conflict) {
  const { setValue, getValues } = useFormContext<Limits>();
  const [clashes, setClashes] = useState<Partial<Record<keyof Limits, Limits[keyof Limits]>>>({});
  const [chosen, setChosen] = useState<Partial<Record<keyof Limits, Choice>>>({});
  const changed = LIMIT_NAMES.filter((name) => !isSame(before[name], theirs[name]));
  const now = useWatch<Limits>();

  useEffect(() => {
    const mine = getValues();
    const both: Partial<Record<keyof Limits, Limits[keyof Limits]>> = {};
    for (const name of LIMIT_NAMES) {
      if (isSame(before[name], theirs[name]) || isSame(mine[name], theirs[name])) continue;
      if (isSame(mine[name], before[name])) setValue(name, theirs[name], { shouldDirty: true });
      else both[name] = mine[name];
    }
    setClashes(both);
    setChosen({});
  }, [before, theirs, getValues, setValue]);

  const choose = (name: keyof Limits, choice: Choice): void => {
    setChosen({ ...chosen, [name]: choice });
    setValue(name, choice === 'theirs' ? theirs[name] : (clashes[name] as never), { shouldDirty: true });
  };

  return (
    <Alert severity="warning" role="alert" sx={{ '& .MuiAlert-message': { width: '100%', minWidth: 0 } }}>
      <AlertTitle>Somebody else changed this partner while you were editing</AlertTitle>
      <Typography variant="body2">
        {changed.length === 0
          ? 'None of these fields changed. Save again to keep your input.'
          : 'Your input is kept. Check their changes, then save again.'}
      </Typography>
      <Stack component="ul" spacing={1.5} useFlexGap sx={{ listStyle: 'none', p: 0, m: 0, mt: 1.5 }}>
        {changed.map((name) => {
          const isClash = name in clashes;
          const mine = clashes[name];
          const isTheirs = isClash && (chosen[name] === 'theirs' || isSame(now[name], theirs[name]));
          return (
            <Box component="li" key={name} sx={{ overflowWrap: 'anywhere' }}>
              <Typography variant="subtitle2" component="h2">
                {FIELD_WORDS[name]}
              </Typography>
              <Typography variant="body2">
                They changed it from <strong>{shownAs(name, before[name])}</strong> to{' '}
                <strong>{shownAs(name, theirs[name])}</strong>.{' '}
                {isClash ? (
                  <>
                    You typed <strong>{shownAs(name, mine)}</strong>.
                  </>
                ) : (
                  'You did not change it, so their value is used.'
                )}
              </Typography>
              {isClash && (
                <Stack
                  direction="row"
                  spacing={1}
                  useFlexGap
                  role="group"
                  aria-label={`Whose ${FIELD_WORDS[name].toLowerCase()}`}
                  sx={{ mt: 0.5, flexWrap: 'wrap' }}
                >
                  <Button
                    size="small"
                    color="inherit"
                    variant={isTheirs ? 'outlined' : 'text'}
                    aria-pressed={isTheirs}
                    onClick={() => {
                      choose(name, 'theirs');
                    }}
                  >
                    Use theirs
                  </Button>
                  <Button
                    size="small"
                    color="inherit"
                    variant={isTheirs ? 'text' : 'outlined'}
                    aria-pressed={!isTheirs}
                    onClick={() => {
                      choose(name, 'mine');
                    }}
                  >
                    Keep mine
                  </Button>
                </Stack>
              )}
            </Box>
          );
        })}
      </Stack>
    </Alert>
  );
}
