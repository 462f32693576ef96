import type { ChainReport } from '../audit/chain/chain-verification.service.ts';
import { say } from './output.ts';

/** Prints the report. The process ends with 1 if the chain is broken or a line of the file is foreign. */
export function sayReport({ events, head, kinds, findings }: ChainReport): void {
  const [first, ...more] = findings.filter(({ kind }) => kind !== 'foreign');
  if (head && !first) {
    say(`Intact: ${String(events)} events, head ${String(head.sequence)} ${head.mac.toString('hex')}`);
    if (findings.length === 0) return;
  }
  const foreign = findings.filter(({ kind }) => kind === 'foreign');
  for (const { sequence, detail } of foreign) say(`Foreign: line ${String(sequence)} of the file ${detail}.`);
  if (foreign.length > 0) {
    say(
      '`audit export` did not write these lines. Export again with --file, or with `npm run -s cli`, which prints ' +
        'nothing else.',
    );
    process.exitCode = 1;
  }
  if (head && !first) return;
  say(`Broken: event ${String(first?.sequence)} ${first?.detail ?? 'was not found'}.`);
  for (const { kind, sequence, detail } of more) say(`  ${kind}: event ${String(sequence)} ${detail}`);
  say(`Found: ${kinds.join(', ')}. ${String(events)} events were verified.`);
  process.exitCode = 1;
}
