import { Injectable } from '@nestjs/common';

/** Where the process is in its life: whoever opens and closes the listeners says so. */
@Injectable()
export class Lifecycle {
  state: 'starting' | 'serving' | 'shutting-down' = 'starting';
}
