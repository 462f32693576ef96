/** A time in a text. Each reader sees it in their own zone. */
export interface TimeWord {
  /** ISO 8601. */
  readonly at: string;
  /**
   * `relative`: such as "3 minutes ago". `second`: with seconds, for comparison with logs. `clock`: the time of day alone,
   * below a date.
   */
  readonly as: 'relative' | 'minute' | 'second' | 'clock';
}

/** A code in a text, shown in a font of fixed width. */
interface CodeWord {
  readonly code: string;
}

/** The id of a request in a text, with a link to what became of it. */
interface RequestWord {
  readonly request: string;
}

/**
 * A text that the staff console and the partner's page show alike, each with its own elements for times, codes and
 * requests.
 */
export type Text = readonly (string | TimeWord | CodeWord | RequestWord)[];

export const relative = (at: string): TimeWord => ({ at, as: 'relative' });
export const minute = (at: string): TimeWord => ({ at, as: 'minute' });
export const clock = (at: string): TimeWord => ({ at, as: 'clock' });
export const second = (at: string): TimeWord => ({ at, as: 'second' });
