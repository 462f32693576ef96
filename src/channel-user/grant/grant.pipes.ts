import { Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidInputError } from '../../platform/common/errors.ts';
import { RESOURCE_TYPE } from '../../platform/api/security.ts';
import { asKept, isPathSegment, isResourceId, MAX_RESOURCE_ID, PATH_SEGMENT_MESSAGE } from './grant.dto.ts';

/** Validates a path parameter that names a type of resource. */
@Injectable()
export class ResourceTypePipe implements PipeTransform<string> {
  transform(value: string): string {
    if (RESOURCE_TYPE.test(value)) return value;
    throw new InvalidInputError([{ field: 'resourceType', messages: ['must be a lower-case name'] }]);
  }
}

/** Validates a path parameter that is a resource's id, and converts it to its stored form. */
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

/** Also refuses the ids `.` and `..`, for which no new grant can be given. */
@Injectable()
export class NewResourceIdPipe extends ResourceIdPipe {
  override transform(value: string): string {
    if (isPathSegment(value)) return super.transform(value);
    throw new InvalidInputError([{ field: 'resourceId', messages: [PATH_SEGMENT_MESSAGE] }]);
  }
}
