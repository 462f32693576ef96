import type { Credential } from './credential.entity.ts';

/**
 * The credentials that were created with the password of another one, directly or indirectly, oldest first.
 *
 * @param all the account's credentials
 */
export function descendantsOf(all: readonly Credential[], id: string): Credential[] {
  const children = Map.groupBy(all, ({ provedBy }) => provedBy);
  const found = new Set<Credential>();
  const look = (parents: readonly string[]): void => {
    const next = parents.flatMap((parent) => children.get(parent) ?? []).filter((child) => !found.has(child));
    for (const child of next) found.add(child);
    if (next.length > 0) look(next.map((child) => child.id));
  };
  look([id]);
  return [...found]
    .filter((credential) => credential.id !== id)
    .sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1));
}
