import type { BlockList } from 'node:net';
import { parseKeyEncryptionKeys } from './key-encryption-key.ts';
import { parseNetworks } from './networks.ts';

/** The value of a text, or the rule that it breaks: the rest of a sentence that begins with the setting's name. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** How the text of a setting is read and checked. */
export interface SettingType<T> {
  readonly parse: (text: string) => Parsed<T>;
  /** The accepted values in words, for the documentation. */
  readonly accepts?: string;
  /** The problem already quotes the value found, so `readSettings()` does not add it. */
  readonly quotes?: true;
  /** Spaces around the text belong to the value. */
  readonly verbatim?: true;
}

const LIST = new Intl.ListFormat('en-GB', { type: 'disjunction' });

export function choice<const T extends string>(...values: readonly T[]): SettingType<T> {
  const accepts = LIST.format(values);
  return {
    accepts,
    parse: (text) => {
      const value = values.find((known) => known === text);
      return value === undefined ? { problem: `must be ${accepts}` } : { value };
    },
  };
}

export function wholeNumber(min: number, max: number): SettingType<number> {
  return {
    accepts: `${String(min)} to ${String(max)}`,
    parse: (text) => {
      if (!/^-?\d{1,15}$/.test(text)) return { problem: 'must be a whole number' };
      const value = Number(text);
      if (value < min) return { problem: `must be at least ${String(min)}` };
      return value > max ? { problem: `must be at most ${String(max)}` } : { value };
    },
  };
}

export const port = wholeNumber(0, 65_535);

export const flag: SettingType<boolean> = {
  accepts: 'true or false',
  parse: (text) =>
    text === 'true' || text === 'false' ? { value: text === 'true' } : { problem: 'must be true or false' },
};

export const text: SettingType<string> = { parse: (value) => ({ value }) };

export const password: SettingType<string> = { ...text, verbatim: true };

export const matching = (pattern: RegExp, problem: string): SettingType<string> => ({
  parse: (value) => (pattern.test(value) ? { value } : { problem }),
});

/** @param problemOf says what is wrong with a text, see {@link Parsed} */
export const checked = (problemOf: (text: string) => string | undefined): SettingType<string> => ({
  parse: (value) => {
    const problem = problemOf(value);
    return problem === undefined ? { value } : { problem };
  },
});

export const networks: SettingType<BlockList> = {
  parse: (value) => {
    const list = parseNetworks(value);
    return list ? { value: list } : { problem: 'must be a comma-separated list of IP addresses or CIDR networks' };
  },
};

export const keys = { parse: parseKeyEncryptionKeys };
