import { csvLines } from '../platform/common/csv.ts';
import { defused } from '../platform/common/formula.ts';
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

/** The header line. */
export const CSV_HEADER = csvLines([COLUMNS]);

/** The cells of an event: its changes are JSON, and a spreadsheet takes no cell for a formula. */
function cellsOf({ at, actor, action, target, reason, address, requestId, changes }: ReadableEvent): string[] {
  return [
    at.toISOString(),
    action,
    actor.type,
    actor.id ?? '',
    defused(actor.name),
    target.type,
    target.id,
    defused(target.name),
    defused(reason ?? ''),
    address ?? '',
    requestId ?? '',
    JSON.stringify(changes),
  ];
}

/** Events as lines of CSV. */
export const eventLines = (events: readonly ReadableEvent[]): string => csvLines(events.map(cellsOf));
