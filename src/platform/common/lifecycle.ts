/** What the process is for. */
export type ProcessRole = 'server' | 'command';

/** The state of the process. The code that opens and closes the listeners sets it. */
export class Lifecycle {
  state: 'starting' | 'serving' | 'shutting-down' = 'starting';

  constructor(private readonly role: ProcessRole) {}

  /**
   * Whether the process does the service's periodic work, such as deliveries, pruning and rotation. A command does not:
   * it has the settings of somebody's shell, and its database may be a copy.
   */
  get doesBackgroundWork(): boolean {
    return this.role === 'server';
  }
}
