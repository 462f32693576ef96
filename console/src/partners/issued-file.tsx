import DownloadIcon from '@mui/icons-material/Download';
import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useEffect, useState } from 'react';
import { hasLinks, type Issued, issuedCsv } from './issued-csv.ts';
import { countOf } from './words.ts';

/** A download of the links or passwords that an import issued. Until then, they are only in this page's memory. */
export function IssuedFile({ issued, onDone }: { issued: Issued; onDone: () => void }) {
  const [url, setUrl] = useState<string>();
  const isLinks = hasLinks(issued);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([issuedCsv(issued)], { type: 'text/csv;charset=utf-8' }));
    setUrl(made);
    return () => {
      URL.revokeObjectURL(made);
    };
  }, [issued]);
  return (
    <Alert severity="warning">
      <Typography variant="body2">
        {isLinks
          ? `${countOf(issued.length, 'one-time link was', 'one-time links were')} created. Download them now and send each ` +
            'partner its own: nobody can read them again. Each link shows a password once.'
          : `${countOf(issued.length, 'password was', 'passwords were')} generated. Download them now: nobody can read ` +
            'them again. Keep the file where nobody else can read it, and delete it once the partners have their passwords.'}
      </Typography>
      <Stack direction="row" spacing={1} useFlexGap sx={{ mt: 1, flexWrap: 'wrap' }}>
        <Button
          color="inherit"
          variant="outlined"
          component="a"
          href={url}
          download={isLinks ? 'links.csv' : 'passwords.csv'}
          startIcon={<DownloadIcon />}
        >
          {isLinks ? 'Download links' : 'Download passwords'}
        </Button>
        <Button color="inherit" onClick={onDone}>
          I have saved them, remove them here
        </Button>
      </Stack>
    </Alert>
  );
}
