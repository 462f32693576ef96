import { localStorageStore, type Store } from 'react-admin';

/** Keys of preferences that belong to the browser: theme, columns and the open menu. None holds a secret. */
const KEPT = /^(theme|sidebar\.open|preferences\.|.*(columnRanks|hiddenColumns|availableColumns|datatable))/;

const local = localStorageStore('1', 'latchkey');

/** react-admin's store. Signing out removes filters and searches, and keeps the browser's preferences. */
export const store: Store = {
  ...local,
  reset: () => {
    for (const key of Object.keys(local.listItems?.('') ?? {})) {
      if (!KEPT.test(key)) local.removeItem(key);
    }
  },
};
