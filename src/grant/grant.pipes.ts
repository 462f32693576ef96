import { Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidInputError } from '../common/errors.ts';
import { RESOURCE_TYPE } from '../common/security.ts';
import { asKept, isResourceId, MAX_RESOURCE_ID } from './grant.dto.ts';

/** A path parameter that names a kind of resource. */
@Injectable()
export class ResourceTypePipe implements PipeTransform<string> {
  transform(value: string): string {
    if (RESOURCE_TYPE.test(value)) return value;
    throw new InvalidInputError([{ field: 'resourceType', messages: ['must be a name in lower case'] }]);
  }
}

/** A path parameter that is a resource's id, as it is kept. */
@Injectable()
export class ResourceIdPipe implements PipeTransform<string> {
  transform(value: string): string {
    if (isResourceId(value)) return asKept(value);
    const messages = [
      `must be text of 1 to ${String(MAX_RESOURCE_ID)} characters without control characters, not blank`,
    ];
    throw new InvalidInputError([{ field: 'resourceId', messages }]);
  }
}
