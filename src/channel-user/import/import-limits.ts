import { Injectable } from '@nestjs/common';

/** The limits of an uploaded file. Injected so that tests can lower them. */
@Injectable()
export class ImportLimits {
  /** The size above which a file is refused. */
  maxBytes = 100_000_000;
  /** Milliseconds for which the sender may send nothing. */
  stallMs = 30_000;
}
