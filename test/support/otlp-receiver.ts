import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import protobuf from 'protobufjs';

/** The messages of opentelemetry-proto 1.x, with the fields that the tests read. The numbers never change. */
const { root } = protobuf.parse(
  `syntax = "proto3";
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Resource { repeated KeyValue attributes = 1; }

  message TracesData { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1;
    bytes span_id = 2;
    bytes parent_span_id = 4;
    string name = 5;
    int32 kind = 6;
    repeated KeyValue attributes = 9;
  }

  message MetricsData { repeated ResourceMetrics resource_metrics = 1; }
  message ResourceMetrics { repeated ScopeMetrics scope_metrics = 2; }
  message ScopeMetrics { repeated Metric metrics = 2; }
  message Metric { string name = 1; Histogram histogram = 9; }
  message Histogram { repeated HistogramDataPoint data_points = 1; }
  message HistogramDataPoint { repeated KeyValue attributes = 9; }`,
);

type Value = string | number | boolean | undefined;

interface Attribute {
  readonly key: string;
  readonly value?: {
    readonly stringValue?: string;
    readonly boolValue?: boolean;
    readonly intValue?: number;
    readonly doubleValue?: number;
  };
}

interface ExportedSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly attributes: Attribute[];
}

export interface ReceivedSpan extends Pick<ExportedSpan, 'name' | 'kind'> {
  /** In hexadecimal digits, like the other ids. */
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first span of a trace. */
  readonly parentSpanId: string;
  readonly attributes: Record<string, Value>;
}

interface TracesData {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: ExportedSpan[] }[] }[];
}

interface MetricsData {
  resourceMetrics: {
    scopeMetrics: { metrics: { name: string; histogram: { dataPoints: { attributes: Attribute[] }[] } | null }[] }[];
  }[];
}

/** @throws Error when the bytes are not such a message */
function decode<T>(message: string, bytes: Buffer): T {
  const type = root.lookupType(message);
  return type.toObject(type.decode(bytes), { longs: Number, defaults: true }) as T;
}

const asRecord = (attributes: Attribute[]): ReceivedSpan['attributes'] =>
  Object.fromEntries(
    attributes.map(({ key, value = {} }) => [
      key,
      value.stringValue ?? value.boolValue ?? value.intValue ?? value.doubleValue,
    ]),
  );

/** A collector for OTLP over HTTP as Protobuf (opentelemetry-proto, `http/protobuf`). A test may freeze it. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly resources: ReceivedSpan['attributes'][] = [];
  /** Metrics by name. Histograms have the attributes of each series. */
  readonly metrics = new Map<string, ReceivedSpan['attributes'][]>();
  /** All requests, one character a byte. Protobuf keeps texts as they are. */
  payload = '';
  isFrozen = false;
  /** Number of requests that have begun. */
  requests = 0;
  readonly #held: ServerResponse[] = [];
  readonly #server = createServer((request, response) => void this.#receive(request, response));

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  /** Answers the held requests, and every request from now on. */
  thaw(): void {
    this.isFrozen = false;
    for (const response of this.#held.splice(0)) response.end();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    const body = await buffer(request);
    this.payload += `${JSON.stringify(request.headers)}\n${body.toString('latin1')}\n`;
    const { 'content-type': type, 'content-encoding': encoding } = request.headers;
    if (type !== 'application/x-protobuf' || encoding !== undefined) {
      response.writeHead(415).end();
      return;
    }
    if (request.url === '/v1/traces') this.#takeSpans(decode<TracesData>('TracesData', body));
    else if (request.url === '/v1/metrics') this.#takeMetrics(decode<MetricsData>('MetricsData', body));
    response.setHeader('content-type', type);
    // An answer without a partial success is an empty message.
    if (this.isFrozen) this.#held.push(response);
    else response.end();
  }

  #takeSpans({ resourceSpans }: TracesData): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      this.resources.push(asRecord(resource.attributes));
      for (const { name, kind, attributes, ...ids } of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          name,
          kind,
          traceId: ids.traceId.toString('hex'),
          spanId: ids.spanId.toString('hex'),
          parentSpanId: ids.parentSpanId.toString('hex'),
          attributes: asRecord(attributes),
        });
      }
    }
  }

  #takeMetrics({ resourceMetrics }: MetricsData): void {
    for (const { name, histogram } of resourceMetrics.flatMap(({ scopeMetrics }) =>
      scopeMetrics.flatMap(({ metrics }) => metrics),
    )) {
      this.metrics.set(name, histogram?.dataPoints.map(({ attributes }) => asRecord(attributes)) ?? []);
    }
  }
}
