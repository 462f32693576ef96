/** Records of one kind that get a row each in a minute. Further ones share a row with a count. */
const ROWS_PER_MINUTE = 30;
const MINUTE_MS = 60_000;

/** Says which of repeated records share a row, so that records of one kind leave room for others. */
export class RowsPerMinute {
  #minute = 0;
  #records = new Map<string, number>();

  /**
   * Counts a record.
   *
   * @param kind what the records have in common
   * @param at milliseconds since the epoch
   * @returns the start of the minute whose row the record shares; `null` for a record that gets a row of its own
   */
  sharedMinute(kind: string, at: number): number | null {
    const minute = minuteOf(at);
    if (this.#minute !== minute) {
      this.#minute = minute;
      this.#records = new Map();
    }
    const records = (this.#records.get(kind) ?? 0) + 1;
    this.#records.set(kind, records);
    return records > ROWS_PER_MINUTE ? minute : null;
  }
}

/** The start of a minute, in milliseconds since the epoch. */
export const minuteOf = (at: number): number => Math.floor(at / MINUTE_MS) * MINUTE_MS;
