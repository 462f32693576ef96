import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import type { Parsed } from './setting-types.ts';
import { type Setting, SETTING_ROWS, type SettingValues } from './settings.ts';

export type Variables = Record<string, string | undefined>;

/**
 * Sentences without a full stop that begin with a setting's name: problems stop the start, and warnings name what works
 * but should be changed.
 */
export interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
}

const isSet = (variables: Variables, name: string): boolean => (variables[name] ?? '').trim() !== '';

/** Reads a secret from its file. Drops one line end, which editors and `echo` add. */
function readSecret(file: string): Parsed<string> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    // Does not show the path, which may be the secret itself, set under the wrong name.
    return { problem: `must name a readable file (${(error as NodeJS.ErrnoException).code ?? 'not a path'})` };
  }
  if (!isUtf8(bytes)) return { problem: 'must name a file of UTF-8 text' };
  const value = bytes.toString().replace(/\r?\n$/, '');
  return value.trim() === '' ? { problem: 'must name a file that is not empty' } : { value };
}

/** The text of a setting, from its variable or its file. Drops the spaces around it unless its type is `verbatim`. */
function textOf(name: string, { type, secret }: Setting, variables: Variables, { problems }: Findings): string {
  const fileName = `${name}_FILE`;
  const trimmed = (text: string): string => (type.verbatim ? text : text.trim());
  const given = trimmed((variables[name] ?? '').replace(/(?<![\r\n])[\r\n]+$/, ''));
  if (!secret || !isSet(variables, fileName)) return given;
  if (given !== '') {
    problems.push(`${name} and ${fileName} are both set: set one of them`);
    return '';
  }
  const parsed = readSecret(variables[fileName]?.trim() ?? '');
  if ('value' in parsed) return trimmed(parsed.value);
  problems.push(`${fileName} ${parsed.problem}`);
  return '';
}

function checkReplaced(name: string, newName: string, variables: Variables, { problems, warnings }: Findings): void {
  if (isSet(variables, newName) || isSet(variables, `${newName}_FILE`)) {
    problems.push(`${name} and ${newName} are both set: ${newName} replaces ${name}, set only ${newName}`);
  } else {
    warnings.push(`${name} will stop working in the next minor version: set ${newName} instead`);
  }
}

/** The value found, for the end of a sentence. Empty if the value may be a secret or is quoted already. */
const found = (text: string, { type, secret }: Setting): string =>
  secret || type.quotes ? '' : `; found ${JSON.stringify(text.slice(0, 100))}`;

/**
 * Reads every setting of the table.
 *
 * @param variables the environment; variables that are not Latchkey's are ignored, empty ones count as absent
 * @param findings collects each broken rule, and each old name that is in use
 * @returns the values, which are usable only if there are no problems
 */
export function readSettings(variables: Variables, findings: Findings): SettingValues {
  const values: Record<string, unknown> = {};
  for (const [name, setting] of SETTING_ROWS) {
    const given = textOf(name, setting, variables, findings);
    const text = given === '' ? setting.default : given;
    if (given !== '' && setting.replacedBy !== undefined) checkReplaced(name, setting.replacedBy, variables, findings);
    if (text === undefined) continue;
    const parsed = setting.type.parse(text);
    if ('value' in parsed) values[name] = parsed.value;
    else findings.problems.push(`${name} ${parsed.problem}${found(text, setting)}`);
  }
  return values as unknown as SettingValues;
}
