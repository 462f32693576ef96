import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Credential } from '../model/credential.entity.ts';
import type { StartedByDto } from './credential.dto.ts';

type ReadNames = (manager: EntityManager, ids: readonly string[]) => Promise<ReadonlyMap<string, string>>;

/**
 * Names the staff and service accounts that began rotations. Their features register how, since this one cannot import
 * them. Names are read and not copied, so that they follow a correction and end with their account.
 */
@Injectable()
export class StarterNames {
  readonly #readers: ReadNames[] = [];

  register(read: ReadNames): void {
    this.#readers.push(read);
  }

  /**
   * The names by id. An id of somebody who is gone is left out.
   *
   * @param manager of the caller's transaction, if it is in one: it must not wait for a second connection
   */
  async of(manager: EntityManager, ids: readonly (string | null)[]): Promise<ReadonlyMap<string, string>> {
    const names = new Map<string, string>();
    const known = [...new Set(ids.filter((id) => id !== null))];
    if (known.length === 0) return names;
    for (const read of this.#readers) for (const [id, name] of await read(manager, known)) names.set(id, name);
    return names;
  }
}

/** @param names by id, from {@link StarterNames.of} */
export function startedByOf(
  { begunBy, begunById }: Credential,
  names: ReadonlyMap<string, string>,
): StartedByDto | null {
  if (begunBy === null) return null;
  return { type: begunBy, id: begunById, name: begunById === null ? null : (names.get(begunById) ?? null) };
}
