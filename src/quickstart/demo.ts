import type { Actor } from '../platform/common/principal.ts';

/** A call that startup prints as a shell command. */
export interface DemoCall {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Path and query, such as `/getRooms?propertyId=…`. */
  readonly path: string;
  readonly body?: object;
}

/** What an application sets up for the demo partner of the quickstart, so that there is something to try. */
export interface Demo {
  readonly scopes: readonly string[];
  /**
   * Creates the data that the calls need, unless it exists. Runs at every start on the embedded database.
   *
   * @param actor the actor for the audit trail
   * @returns the grants that the demo partner needs, and the calls to print
   */
  prepare(actor: Actor): Promise<{
    readonly grants: readonly { readonly resourceType: string; readonly resourceIds: string[] }[];
    /** In the order of printing. */
    readonly calls: readonly DemoCall[];
  }>;
}
