import { LRUCache } from 'lru-cache';

/** Lets many records that have one of a few values share it, which saves memory. Keeps the values used last. */
export class SharedValues<Value extends object | string> {
  readonly #values: LRUCache<string, Value>;

  constructor(max = 1_000) {
    this.#values = new LRUCache({ max });
  }

  /** @returns the value that came first under the key, or else this one */
  of(key: string, value: Value): Value {
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, value);
    return known ?? value;
  }
}
