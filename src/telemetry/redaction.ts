import { type Attributes, SpanKind } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

/**
 * What leaves of a request: not its URL, where a client may have put its password, no header, no address. The log has
 * the address, under the same trace id.
 */
const OF_REQUESTS = [
  'error.type',
  'http.request.method',
  'http.response.status_code',
  'http.route',
  'latchkey.error_code',
  'latchkey.request_id',
  'network.protocol.version',
  'url.scheme',
];

/** What leaves of a query or a call to another server. Statements have placeholders; paths may hold a capability. */
const OF_CALLS = [
  'db.collection.name',
  'db.namespace',
  'db.operation.name',
  'db.query.text',
  'db.system.name',
  'error.type',
  'http.request.method',
  'http.response.status_code',
  'network.protocol.version',
  'server.address',
  'server.port',
  'url.scheme',
];

const OF_OWN_WORK = ['latchkey.waited_ms'];

const ALLOWED: Record<SpanKind, ReadonlySet<string>> = {
  [SpanKind.INTERNAL]: new Set(OF_OWN_WORK),
  [SpanKind.SERVER]: new Set(OF_REQUESTS),
  [SpanKind.CLIENT]: new Set(OF_CALLS),
  [SpanKind.PRODUCER]: new Set(),
  [SpanKind.CONSUMER]: new Set(),
};

function allowed(attributes: Attributes, names: ReadonlySet<string>): Attributes {
  const kept: Attributes = {};
  for (const name in attributes) if (names.has(name)) kept[name] = attributes[name];
  return kept;
}

/**
 * A span as it may be seen elsewhere: the instrumentations say more than that, and may say still more with their next
 * version. Errors of the database quote values, so events and the text of the status stay here, too.
 */
export function exportable(span: ReadableSpan): ReadableSpan {
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => span.spanContext(),
    ...(span.parentSpanContext && { parentSpanContext: span.parentSpanContext }),
    startTime: span.startTime,
    endTime: span.endTime,
    status: { code: span.status.code },
    attributes: allowed(span.attributes, ALLOWED[span.kind]),
    links: [],
    events: [],
    duration: span.duration,
    ended: span.ended,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
    droppedAttributesCount: span.droppedAttributesCount,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  };
}
