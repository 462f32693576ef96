import { type Attributes, SpanKind } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

/**
 * Exported attributes of a request. The URL may hold a password and headers may hold a token, so neither is exported,
 * and neither is the address, which the log has under the same trace id.
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

/** Exported attributes of a query or an outgoing call. SQL has placeholders for values. Paths may hold a secret. */
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
 * The exported form of a span. Only listed attributes are kept, since instrumentations record more, and more with each
 * version. Events and the status text are dropped, since database errors quote values.
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
