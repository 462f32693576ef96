import { localStorageStore, type Store } from 'react-admin';

/** What belongs to the browser and not to a session: theme, columns, whether the menu is open. Nothing secret. */
const KEPT = /^(theme|sidebar\.open|preferences\.|.*(columnRanks|hiddenColumns|availableColumns|datatable))/;

const local = localStorageStore('1', 'latchkey');

/** Filters and searches go with the session when somebody signs out; the rest stays. */
export const store: Store = {
  ...local,
  reset: () => {
    for (const key of Object.keys(local.listItems?.('') ?? {})) {
      if (!KEPT.test(key)) local.removeItem(key);
    }
  },
};
