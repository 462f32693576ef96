import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { exportable } from './redaction.ts';

/** A finished span with an exception and a status text, as instrumentations make them. */
function spanOf(kind: SpanKind, attributes: Record<string, string>) {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const span = provider.getTracer('test').startSpan('a span', { kind, attributes });
  span.recordException(new Error('invalid input syntax for type uuid: "hunter2"'));
  span.setStatus({ code: SpanStatusCode.ERROR, message: 'duplicate key: "hunter2"' });
  span.end();
  const [ended] = exporter.getFinishedSpans();
  if (!ended) throw new Error('The span has not ended');
  return ended;
}

it('removes what an error quotes but keeps that there was an error', () => {
  const ended = spanOf(SpanKind.CLIENT, { 'db.query.text': 'SELECT $1' });
  expect(JSON.stringify([ended.events, ended.status])).toContain('hunter2');
  const exported = exportable(ended);
  expect(exported.status).toEqual({ code: SpanStatusCode.ERROR });
  expect(exported.events).toEqual([]);
  expect(exported.attributes).toEqual({ 'db.query.text': 'SELECT $1' });
  expect(exported.spanContext()).toEqual(ended.spanContext());
});

it('removes attributes that are not on the list', () => {
  const attributes = {
    'http.route': '/me',
    'url.query': 'password=hunter2',
    'http.request.header.authorization': 'hunter2',
  };
  expect(exportable(spanOf(SpanKind.SERVER, attributes)).attributes).toEqual({ 'http.route': '/me' });
  expect(exportable(spanOf(SpanKind.CLIENT, { 'url.full': 'https://hook.example/hunter2' })).attributes).toEqual({});
  expect(exportable(spanOf(SpanKind.INTERNAL, { 'latchkey.waited_ms': '3', secret: 'hunter2' })).attributes).toEqual({
    'latchkey.waited_ms': '3',
  });
});
