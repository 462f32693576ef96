import { csvLines } from '../platform/common/csv.ts';
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

/** The header line. */
export const CSV_HEADER = csvLines([COLUMNS]);

/** The cells of an event: its changes are JSON, and a spreadsheet takes no cell for a formula. */
function cellsOf({ at, actor, action, target, reason, address, requestId, changes }: ReadableEvent): string[] {
  return [
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
}

/** Events as lines of CSV. */
export const eventLines = (events: readonly ReadableEvent[]): string => csvLines(events.map(cellsOf));
