import { describedScope } from '../../src/extend.ts';

export const CONTENT_READ = describedScope('content:read', 'Read rooms, rate plans and images of granted properties.');
export const PROPERTY_WRITE = describedScope('property:write', 'Change the rooms of granted properties.');
export const CALENDAR_WRITE = describedScope('calendar:write', 'Change the calendars of granted properties.');
