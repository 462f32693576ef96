import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Credential } from '../model/credential.entity.ts';
import type { StartedByDto } from './credential.dto.ts';

type ReadNames = (manager: EntityManager, ids: readonly string[]) => Promise<ReadonlyMap<string, string>>;

/**
 * Names the staff who began rotations. The staff feature registers how, since this one cannot import it. Names are read
 * and not copied, so that they follow a correction and end with their account.
 */
@Injectable()
export class StarterNames {
  #read: ReadNames = () => Promise.resolve(new Map());

  register(read: ReadNames): void {
    this.#read = read;
  }

  /**
   * The names by id. An id of somebody who is gone is left out.
   *
   * @param manager of the caller's transaction, if it is in one: it must not wait for a second connection
   */
  of(manager: EntityManager, ids: readonly (string | null)[]): Promise<ReadonlyMap<string, string>> {
    const known = [...new Set(ids.filter((id) => id !== null))];
    return known.length === 0 ? Promise.resolve(new Map()) : this.#read(manager, known);
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
