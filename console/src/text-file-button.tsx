import DownloadIcon from '@mui/icons-material/Download';
import Button from '@mui/material/Button';
import { type ReactNode, useEffect, useState } from 'react';

interface TextFileButtonProps {
  readonly children: ReactNode;
  /** Name of the file. */
  readonly name: string;
  readonly text: string;
}

/** Saves a text as a file. The browser creates it, so that the text reaches no server. */
export function TextFileButton({ children, name, text }: TextFileButtonProps): ReactNode {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([text], { type: 'text/plain;charset=utf-8' }));
    setUrl(made);
    return () => {
      URL.revokeObjectURL(made);
    };
  }, [text]);
  return (
    <Button variant="outlined" component="a" href={url} download={name} startIcon={<DownloadIcon />}>
      {children}
    </Button>
  );
}
