import type { TimeWord } from './text.ts';

const UNITS: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];
const LOCALE = 'en-GB';
const relativeFormat = new Intl.RelativeTimeFormat(LOCALE, { numeric: 'auto' });
const dayFormat = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full' });
const exactFormat = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'medium' });
const FORMATS: Record<Exclude<TimeWord['as'], 'relative'>, Intl.DateTimeFormat> = {
  minute: new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'short' }),
  second: exactFormat,
  clock: new Intl.DateTimeFormat(LOCALE, { timeStyle: 'short' }),
};

/** Share of a unit from which the unit is used: 0.99 hours are shown as 1 hour. */
const NEARLY = 0.99;

/** @returns a text such as `3 hours ago` or `in 2 days` */
export function relativeTo(now: number, date: Date): string {
  const seconds = Math.round((date.getTime() - now) / 1000);
  // Uses the larger unit when almost reached: 23 hours and 59 minutes are a day, not 23 hours.
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each * NEARLY) ?? ['second', 1];
  return relativeFormat.format(Math.round(seconds / size), unit);
}

/** A time in the reader's zone. */
export const localTime = (date: Date, as: keyof typeof FORMATS): string => FORMATS[as].format(date);

/** The day of a time in the reader's zone, such as "Monday 30 November 2026". @param at ISO 8601 */
export const dayOf = (at: string): string => dayFormat.format(new Date(at));

/** What a time shows on hover and focus: UTC, after the exact local time if the text is relative. */
export function hintOf(date: Date, as: TimeWord['as']): string {
  const utc = `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  return as === 'relative' ? `${exactFormat.format(date)} · ${utc}` : utc;
}

const DURATIONS = [
  [86_400, 'day', 'days'],
  [3_600, 'hour', 'hours'],
  [60, 'minute', 'minutes'],
  [1, 'second', 'seconds'],
] as const;

/** A duration in its two largest units: 5400 seconds are "1 hour 30 minutes". */
export function durationOf(seconds: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [size, one, many] of DURATIONS) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count.toLocaleString(LOCALE)} ${count === 1 ? one : many}`);
    rest -= count * size;
  }
  return parts.length === 0 ? '0 seconds' : parts.slice(0, 2).join(' ');
}
