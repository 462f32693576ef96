import { type CredentialState, isLive, passwordName } from './credential.ts';
import { minute, relative, type Text } from './text.ts';
import { durationOf } from './time.ts';

/** How often a page reads what it shows while a rotation is under way, in milliseconds. */
export const WATCH_MS = 15_000;

/** The passwords of a partner during a rotation. */
export interface Rotation<C extends CredentialState = CredentialState> {
  /** The new password: pending, or in use while the old ones have not ended. */
  readonly next: C;
  /** The other passwords that work. */
  readonly old: readonly C[];
}

/** The one-time link of a pending password. */
export interface LinkState {
  readonly status: 'waiting' | 'revealed' | 'expired' | 'revoked';
  readonly expiresAt: string;
  readonly revealedAt: string | null;
}

/** Who created a password. `null` for imported ones and those of older versions. */
export type Beginner = 'staff' | 'service-account' | 'account' | 'system' | null;

/** @returns the rotation that is under way, or nothing once the old passwords have ended */
export function rotationOf<C extends CredentialState>(items: readonly C[]): Rotation<C> | undefined {
  const live = items.filter(isLive);
  const next = live.find(({ status }) => status === 'pending') ?? live.find(({ activatedAt }) => activatedAt !== null);
  if (!next) return undefined;
  const others = live.filter((credential) => credential !== next);
  const old = next.status === 'pending' ? others : others.filter(({ createdAt }) => createdAt < next.createdAt);
  return next.status === 'pending' || old.length > 0 ? { next, old } : undefined;
}

/** Where a rotation stands. */
export function rotationTitle({ next }: Rotation, link: LinkState | undefined, startedBy: Beginner): Text {
  if (next.status !== 'pending') return ['New password: first used ', minute(next.activatedAt ?? ''), '.'];
  return ['New password: ', ...waitingOf(link, startedBy), '.'];
}

const SHOWN_TO: Record<Exclude<Beginner, null>, string> = {
  staff: 'staff',
  'service-account': 'a service account',
  account: 'the partner',
  system: 'staff',
};

/** How the new password reached the partner, and that it is not used yet. */
function waitingOf(link: LinkState | undefined, startedBy: Beginner): Text {
  if (!link) return [`shown to ${startedBy === null ? 'staff' : SHOWN_TO[startedBy]}, not used yet`];
  return link.revealedAt === null ? ['not opened yet'] : ['opened ', minute(link.revealedAt), ', not used yet'];
}

/** What has happened to the passwords of a rotation and what happens next, a sentence or two on each line. */
export function rotationLines(rotation: Rotation, link: LinkState | undefined): Text[] {
  const { next, old } = rotation;
  const isPending = next.status === 'pending';
  return [
    ...old.map((credential) => oldLine(credential, old, isPending)),
    ...(isPending ? [nextStep(rotation, link)] : []),
  ].filter((line) => line.length > 0);
}

/** An old password: its last use, which tells who would notice its end, and whether it keeps working. */
function oldLine(credential: CredentialState, old: readonly CredentialState[], isPending: boolean): Text {
  const { lastUsedAt, lastUsedAddress, expiresAt } = credential;
  return [
    `${old.length === 1 ? 'The old one' : passwordName(credential, old)} `,
    ...(lastUsedAt === null
      ? ['was never used']
      : ['was last used ', relative(lastUsedAt), ...(lastUsedAddress === null ? [] : [` from ${lastUsedAddress}`])]),
    ' and ',
    ...endsOf(expiresAt, isPending),
  ];
}

function endsOf(at: string | null, isPending: boolean): Text {
  if (at === null) return ['keeps working.'];
  return isPending ? ['works until ', minute(at), '.'] : ['ends ', relative(at), '.'];
}

/** What happens to a pending password, and when. */
function nextStep({ next, old }: Rotation, link: LinkState | undefined): Text {
  const seconds = next.retireOthers?.seconds ?? 0;
  const end: Text =
    old.length === 0
      ? []
      : [
          `${old.length === 1 ? 'The old one ends' : 'The old ones end'} ${
            seconds === 0
              ? 'at the first use of the new one'
              : `${durationOf(seconds)} after the first use of the new one`
          }. `,
        ];
  if (link?.status === 'waiting') {
    return [...end, 'If nobody opens the link by ', minute(link.expiresAt), ', the new one is withdrawn.'];
  }
  if (old.length === 0 || next.pendingUntil === null) return end;
  return [...end, 'If nobody uses the new one by ', minute(next.pendingUntil), ', it is withdrawn.'];
}

/** The last end of the old passwords, if all of them end by themselves before the new one is withdrawn. */
function lastEnd({ next, old }: Rotation): string | undefined {
  const ends = old.map(({ expiresAt }) => expiresAt);
  if (ends.includes(null)) return undefined;
  const last = ends.reduce<string>((latest, end) => (end !== null && end > latest ? end : latest), '');
  return last < (next.pendingUntil ?? '') ? last : undefined;
}

/** The label of the button that ends an old password. */
export const endLabel = (credential: CredentialState, { old }: Rotation): string =>
  old.length === 1 ? 'End the old one now' : `End ${passwordName(credential, old)} now`;

/** What may leave the partner without a password that it uses; nothing if that cannot happen. */
export function rotationDanger(rotation: Rotation): Text | undefined {
  const { next, old } = rotation;
  const end = next.status === 'pending' ? lastEnd(rotation) : undefined;
  if (end === undefined) return undefined;
  if (old.length === 0) return ['No other password works: the partner gets no tokens until it uses the new one.'];
  return [
    `${old.length === 1 ? 'The old one expires by itself' : 'The old ones expire by themselves'} `,
    relative(end),
    ', even if nobody has used the new one by then.',
  ];
}

/** Who created a pending password. @param name of the staff member; partners are not told it */
export function rotationOrigin({ next }: Rotation, startedBy: Beginner, name?: string | null): Text | undefined {
  if (next.status !== 'pending' || startedBy === null) return undefined;
  return ['Created ', relative(next.createdAt), ` by ${nameOf(startedBy, name)}.`];
}

function nameOf(startedBy: Exclude<Beginner, null>, name: string | null | undefined): string {
  if (startedBy === 'account') return 'the partner itself';
  if (startedBy === 'service-account') return name ? `the service account ${name}` : 'a service account';
  return startedBy === 'system' ? 'Latchkey' : (name ?? 'staff');
}
