/** What the process is for. */
export type ProcessRole = 'server' | 'command';

/** Where the process is in its life: whoever opens and closes the listeners says so. */
export class Lifecycle {
  state: 'starting' | 'serving' | 'shutting-down' = 'starting';

  constructor(private readonly role: ProcessRole) {}

  /**
   * Whether the process does what the service has to do again and again: delivers, prunes, rotates. A command of the
   * command line does what it is told and no more: it has the settings of somebody's shell, and may run on a copy.
   */
  get doesBackgroundWork(): boolean {
    return this.role === 'server';
  }
}
