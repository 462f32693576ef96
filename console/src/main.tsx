import createCache from '@emotion/cache';
import { CacheProvider } from '@emotion/react';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createBrowserRouter, RouterProvider } from 'react-router-dom';
import { App } from './app.tsx';

// The server writes a nonce into the page at each request; the styles that Emotion adds carry it (no unsafe-inline).
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce;
const cache = createCache({ key: 'css', prepend: true, ...(nonce !== undefined && nonce !== '' && { nonce }) });

// A data router: only such a one can hold somebody who would leave a form or a secret behind.
const router = createBrowserRouter([{ path: '*', element: <App /> }], { basename: '/console' });

const root = document.getElementById('root');
if (root === null) throw new Error('The page has no #root');
createRoot(root).render(
  <StrictMode>
    <CacheProvider value={cache}>
      <RouterProvider router={router} />
    </CacheProvider>
  </StrictMode>,
);
