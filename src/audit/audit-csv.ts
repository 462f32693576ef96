import type { ReadableEvent } from './audit-query.service.ts';

const COLUMNS = [
  'at',
  'action',
  'actorType',
  'actorId',
  'actorName',
  'targetType',
  'targetId',
  'targetName',
  'reason',
  'address',
  'requestId',
  'changes',
];

/** Matches text that a spreadsheet may take for a formula, full-width signs included. */
const FORMULA = /^[\s']*[=+\-@＝＋－＠]|^[\t\r\n]/;

/** Escapes text that people typed. The other columns cannot begin like a formula. */
const freeText = (text: string): string => (FORMULA.test(text) ? `'${text}` : text);

const cell = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** The header line (RFC 4180 §2). */
export const CSV_HEADER = `${COLUMNS.join(',')}\r\n`;

/** An event as a line of CSV: its changes are JSON, and a spreadsheet takes no cell for a formula. */
export function csvLine({ at, actor, action, target, reason, address, requestId, changes }: ReadableEvent): string {
  const cells = [
    at.toISOString(),
    action,
    actor.type,
    actor.id ?? '',
    freeText(actor.name),
    target.type,
    target.id,
    freeText(target.name),
    freeText(reason ?? ''),
    address ?? '',
    requestId ?? '',
    JSON.stringify(changes),
  ];
  return `${cells.map(cell).join(',')}\r\n`;
}
