import { type Setting, SETTING_ROWS } from './settings.ts';

/** The lines around the table of settings in a page of `docs`. */
const BEGIN = '<!-- settings: written by npm run settings -->';
const END = '<!-- /settings -->';
const WIDTH = 120;

const ROWS = SETTING_ROWS.filter(([, { replacedBy }]) => replacedBy === undefined);

const code = (text: string): string => `\`${text}\``;
/** Removes the code marks of Markdown. */
const plain = (markdown: string): string => markdown.replaceAll('`', '');
const described = ({ description, type }: Setting): string =>
  type.accepts === undefined ? description : `${description} Accepts ${type.accepts}.`;

function unset({ default: value = '', absent = 'none' }: Setting): string {
  return value === '' ? absent : code(value);
}

function comment(text: string): string {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line].join('\n');
}

const HEADER = `${comment(
  'Copy this file to .env and change it. Without any of these settings, `npm start` uses an embedded database, ' +
    'for trying Latchkey out.',
)}
${comment(
  'A secret can also come from a file, as Docker and Kubernetes mount them: set NAME_FILE=/run/secrets/name ' +
    'instead of NAME. One line break at the end of the file is ignored.',
)}
`;
const FOOTER = `
# Traces and metrics for an OpenTelemetry collector, with the standard variables (docs/deploying.md). If unset: none are sent.
# OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
# OTEL_SERVICE_NAME=latchkey
`;

/** The text of `.env.example`. */
export function envExample(): string {
  const blocks = ROWS.map(([name, setting]) => {
    const notes = [`If unset: ${plain(unset(setting))}.`, `Example: ${setting.example}`];
    if (setting.secret) notes.push(`Or set ${name}_FILE to the name of a file.`);
    return [comment(plain(described(setting))), ...notes.map(comment), `${name}=`, ''].join('\n');
  });
  return [HEADER, blocks.join('\n'), FOOTER].join('\n').replace(/\n{3,}/g, '\n\n');
}

/** A Markdown table, aligned as Prettier aligns it. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lineOf = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [lineOf(head), lineOf(widths.map((width) => '-'.repeat(width))), ...body.map(lineOf)].join('\n');
}

function settingsTable(): string {
  const body = ROWS.map(([name, setting]) => [
    [name, ...(setting.secret ? [`${name}_FILE`] : [])].map(code).join(', '),
    unset(setting),
    code(setting.example),
    described(setting),
  ]);
  return table([['setting', 'if unset', 'example', 'meaning'], ...body]);
}

/**
 * Puts the table of settings into a page of the documentation.
 *
 * @param page Markdown
 * @returns the page with the table, or `undefined` when it has no place for one
 */
export function withSettings(page: string): string | undefined {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END, begin);
  if (begin === -1 || end === -1) return undefined;
  return `${page.slice(0, begin + BEGIN.length)}\n\n${settingsTable()}\n\n${page.slice(end)}`;
}
