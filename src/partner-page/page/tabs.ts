import { h, newId } from './dom.ts';

/** A part of the page that is shown alone. */
export interface Tab {
  readonly label: string;
  readonly panel: HTMLElement;
  /** Loads what the panel shows. Called each time the tab is selected. */
  readonly open: () => void;
}

const KEYS: Readonly<Record<string, (index: number, count: number) => number>> = {
  ArrowRight: (index, count) => (index + 1) % count,
  ArrowLeft: (index, count) => (index + count - 1) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
};

/**
 * Tabs as the ARIA authoring practices have them: one stop for the Tab key, arrow keys in between.
 *
 * @returns the tabs, and what loads the selected one anew
 */
export function tabs(all: readonly Tab[]): [HTMLElement, () => void] {
  const list = h('div', { role: 'tablist', 'aria-label': 'About your account', class: 'tabs' });
  const made = all.map((tab) => {
    const id = newId();
    const button = h('button', { type: 'button', role: 'tab', id, 'aria-controls': `${id}-panel` }, tab.label);
    const panel = h('div', { role: 'tabpanel', id: `${id}-panel`, 'aria-labelledby': id, class: 'panel' }, tab.panel);
    return { tab, button, panel };
  });
  let selected = 0;
  const select = (index: number): void => {
    selected = index;
    made.forEach(({ button, panel }, each) => {
      button.setAttribute('aria-selected', String(each === index));
      button.tabIndex = each === index ? 0 : -1;
      panel.hidden = each !== index;
    });
    made[index]?.tab.open();
  };
  made.forEach(({ button }, index) => {
    button.addEventListener('click', () => {
      select(index);
    });
    button.addEventListener('keydown', (event) => {
      const next = KEYS[event.key]?.(index, made.length);
      if (next === undefined) return;
      event.preventDefault();
      select(next);
      made[next]?.button.focus();
    });
  });
  list.append(...made.map(({ button }) => button));
  select(0);
  const root = h('div', { class: 'tabbed' }, list, ...made.map(({ panel }) => panel));
  return [
    root,
    () => {
      made[selected]?.tab.open();
    },
  ];
}
