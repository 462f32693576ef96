import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import { getRPCMetadata, RPCType } from '@opentelemetry/core';
import type { FastifyInstance } from 'fastify';
import { subscribe, type TracingChannel } from 'node:diagnostics_channel';
import { signatureTraces, slowHashTraces } from '../common/tracing.ts';

/** Names the span of each request after its route's template. Fastify publishes every server that is created. */
export function nameSpansByRoute(): void {
  subscribe('fastify.initialization', (message) => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook('onRequest', (request, _, done) => {
      const metadata = getRPCMetadata(context.active());
      if (metadata?.type === RPCType.HTTP) {
        // A request without a route is named after its method alone.
        if (!request.is404 && request.routeOptions.url !== undefined) metadata.route = request.routeOptions.url;
        metadata.span.setAttribute('latchkey.request_id', request.id);
      }
      done();
    });
    fastify.addHook('onResponse', (request, _, done) => {
      if (request.errorCode !== undefined) {
        trace.getActiveSpan()?.setAttribute('latchkey.error_code', request.errorCode);
      }
      done();
    });
  });
}

/** Creates spans for the expensive work in this process: slow hashes and signatures. */
export function traceOwnWork(): void {
  traceChannel(slowHashTraces, 'verify slow hash', ({ waitedMs }, span) => {
    if (waitedMs !== undefined) span.setAttribute('latchkey.waited_ms', Math.round(waitedMs));
  });
  traceChannel(signatureTraces, 'sign token');
}

function traceChannel<T extends object>(
  channel: TracingChannel<unknown, T>,
  name: string,
  describe?: (work: T, span: Span) => void,
): void {
  const tracer = trace.getTracer('latchkey');
  const spans = new WeakMap<T, Span>();
  const end = (work: T): void => {
    const span = spans.get(work);
    if (!span) return;
    describe?.(work, span);
    span.end();
  };
  channel.subscribe({
    start: (work) => {
      // Creates spans only as part of a trace.
      if (trace.getActiveSpan()) spans.set(work, tracer.startSpan(name));
    },
    // For asynchronous work, `end` means only that the call returned. Then `asyncEnd` ends the span.
    end: (work) => {
      if ('result' in work || 'error' in work) end(work);
    },
    asyncStart: () => undefined,
    asyncEnd: end,
    error: (work) => {
      spans.get(work)?.setStatus({ code: SpanStatusCode.ERROR });
    },
  });
}
