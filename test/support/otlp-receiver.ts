import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string };
}

interface ExportedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly attributes: Attribute[];
}

export interface ReceivedSpan extends Omit<ExportedSpan, 'attributes'> {
  readonly attributes: Record<string, string | number | undefined>;
}

interface TraceRequest {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: ExportedSpan[] }[] }[];
}

interface MetricRequest {
  resourceMetrics: {
    scopeMetrics: { metrics: { name: string; histogram?: { dataPoints: { attributes: Attribute[] }[] } }[] }[];
  }[];
}

const asRecord = (attributes: Attribute[]): ReceivedSpan['attributes'] =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));

/** A collector for OTLP over HTTP as JSON (opentelemetry-proto, `http/json`). A test may freeze it. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly resources: ReceivedSpan['attributes'][] = [];
  /** Metrics by name. Histograms have the attributes of each series. */
  readonly metrics = new Map<string, ReceivedSpan['attributes'][]>();
  /** The text of all requests. */
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
    for (const response of this.#held.splice(0)) response.end('{}');
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    let body = '';
    for await (const chunk of request) body += String(chunk);
    this.payload += `${JSON.stringify(request.headers)}\n${body}\n`;
    if (request.url === '/v1/traces') this.#takeSpans(JSON.parse(body) as TraceRequest);
    else if (request.url === '/v1/metrics') this.#takeMetrics(JSON.parse(body) as MetricRequest);
    response.setHeader('content-type', 'application/json');
    if (this.isFrozen) this.#held.push(response);
    else response.end('{}');
  }

  #takeSpans({ resourceSpans }: TraceRequest): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      this.resources.push(asRecord(resource.attributes));
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({ ...span, attributes: asRecord(span.attributes) });
      }
    }
  }

  #takeMetrics({ resourceMetrics }: MetricRequest): void {
    for (const { name, histogram } of resourceMetrics.flatMap(({ scopeMetrics }) =>
      scopeMetrics.flatMap(({ metrics }) => metrics),
    )) {
      this.metrics.set(name, histogram?.dataPoints.map(({ attributes }) => asRecord(attributes)) ?? []);
    }
  }
}
