import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useEffect, useState } from 'react';
import { useFormContext, useWatch } from 'react-hook-form';
import type { ChannelUser, Limits } from './partner-api.ts';
import { isSame, LIMIT_NAMES, LIMIT_WORDS, shownAs } from './limits.ts';

export interface Conflict {
  /** What the form was filled from. */
  readonly before: Limits;
  /** What somebody else has saved since. */
  readonly theirs: ChannelUser;
}

type Choice = 'theirs' | 'mine';

/**
 * Somebody else saved first: shows each field they changed. What only they changed is taken over; where both did, one
 * chooses, and until then one's own input stays.
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
          ? 'None of the fields here changed. Save again to keep what you typed.'
          : 'Nothing you typed is lost. Look at what they changed, then save again.'}
      </Typography>
      <Stack component="ul" spacing={1.5} useFlexGap sx={{ listStyle: 'none', p: 0, m: 0, mt: 1.5 }}>
        {changed.map((name) => {
          const isClash = name in clashes;
          const mine = clashes[name];
          const isTheirs = isClash && (chosen[name] === 'theirs' || isSame(now[name], theirs[name]));
          return (
            <Box component="li" key={name} sx={{ overflowWrap: 'anywhere' }}>
              <Typography variant="subtitle2" component="h2">
                {LIMIT_WORDS[name]}
              </Typography>
              <Typography variant="body2">
                They changed it from <strong>{shownAs(name, before[name])}</strong> to{' '}
                <strong>{shownAs(name, theirs[name])}</strong>.{' '}
                {isClash ? (
                  <>
                    You typed <strong>{shownAs(name, mine)}</strong>.
                  </>
                ) : (
                  'You did not: theirs is taken over.'
                )}
              </Typography>
              {isClash && (
                <Stack
                  direction="row"
                  spacing={1}
                  useFlexGap
                  role="group"
                  aria-label={`Whose ${LIMIT_WORDS[name].toLowerCase()}`}
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
                    Take theirs
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
