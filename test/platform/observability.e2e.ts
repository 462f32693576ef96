import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { TestApp } from '../support/app.ts';
import { ServerProcess } from '../support/server.ts';

const FOLDER = 'deploy/observability';

/** Every metric, and the labels that Latchkey gives it; `le` belongs to histograms. */
const METRICS: Record<string, readonly string[]> = {
  latchkey_http_requests_total: ['plane', 'route', 'method', 'status'],
  latchkey_http_request_duration_seconds: ['plane', 'route', 'le'],
  latchkey_http_requests_in_flight: [],
  latchkey_tokens_generated_total: ['endpoint'],
  latchkey_tokens_refused_total: ['endpoint', 'error_code'],
  latchkey_guard_refusals_total: ['plane', 'error_code'],
  latchkey_limiter_decisions_total: ['limiter', 'decision'],
  latchkey_limiter_store_up: [],
  latchkey_directory_reads_total: ['result'],
  latchkey_directory_accounts: [],
  latchkey_change_feed_up: [],
  latchkey_change_feed_lag_seconds: [],
  latchkey_database_up: [],
  latchkey_database_pool_connections: ['state'],
  latchkey_database_pool_waiting: [],
  latchkey_database_pool_max: [],
  latchkey_database_errors_total: [],
  latchkey_queue_depth: ['queue'],
  latchkey_records_lost_total: ['queue'],
  latchkey_slow_hashes_total: [],
  latchkey_slow_hash_running: [],
  latchkey_signing_key_age_seconds: ['purpose'],
  latchkey_audit_events_total: [],
  latchkey_audit_chain_sequence: [],
  latchkey_notice_deliveries_total: ['outcome'],
  latchkey_shutting_down: [],
  latchkey_build_info: ['version'],
  // Of Node and the process, by prom-client.
  nodejs_eventloop_lag_p99_seconds: [],
  nodejs_eventloop_lag_mean_seconds: [],
  nodejs_heap_size_used_bytes: [],
  process_cpu_seconds_total: [],
  process_open_fds: [],
  process_resident_memory_bytes: [],
  process_start_time_seconds: [],
};
/** What Prometheus adds. */
const TARGET_LABELS = ['job', 'instance'];

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { severity: string };
  readonly annotations: { summary: string; description: string; runbook_url: string };
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { uid: string };
  readonly gridPos: { x: number; y: number; w: number; h: number };
  readonly fieldConfig?: { defaults: { unit?: string } };
  readonly targets?: { expr: string; datasource: { uid: string } }[];
}

const rules = (
  parse(readFileSync(`${FOLDER}/alerts.yml`, 'utf8')) as { groups: { rules: (Partial<Alert> & { expr: string })[] }[] }
).groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule): rule is Alert => rule.alert !== undefined);
const dashboard = JSON.parse(readFileSync(`${FOLDER}/latchkey.json`, 'utf8')) as {
  panels: Panel[];
  templating: { list: { name: string; type: string }[] };
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = [
  ...rules.map(({ expr }) => expr),
  ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
];

const base = (name: string): string => name.replace(/_(bucket|sum|count)$/, '');
/** The metrics that an expression reads, each with the labels that it selects by. */
const selectorsOf = (expr: string): [name: string, labels: string[]][] =>
  [...expr.matchAll(/\b((?:latchkey|nodejs|process)_\w+)(?:\{([^}]*)\})?/g)].map(([, name = '', selector = '']) => [
    base(name),
    [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label = '']) => label),
  ]);
const groupedBy = (expr: string): string[] =>
  [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(',').map((label) => label.trim()));

/** In CI there must be one: without it these tests fail there. */
const hasPromtool = process.env['CI'] === 'true' || spawnSync('promtool', ['--version']).status === 0;
const withPromtool = hasPromtool ? it : it.skip;
const promtool = (...args: string[]): string => execFileSync('promtool', args, { cwd: FOLDER, encoding: 'utf8' });

describe('alerts', () => {
  withPromtool('the rules are valid, and fire when they should and not before', () => {
    expect(promtool('check', 'config', 'prometheus.yml')).toContain(`${String(rules.length)} rules found`);
    expect(promtool('test', 'rules', 'alerts.test.yml')).toContain('SUCCESS');
    // Days of rules, minute by minute.
  });

  it('are each tested in their state', () => {
    const { tests } = parse(readFileSync(`${FOLDER}/alerts.test.yml`, 'utf8')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
    };
    const fired = tests
      .flatMap((test) => test.alert_rule_test)
      .filter((test) => test.exp_alerts.length > 0)
      .map(({ alertname }) => alertname);
    expect([...new Set(fired)].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it('say how urgent they are and have a section in the runbook', () => {
    for (const { alert, labels, annotations } of alerts) {
      expect([alert, ['page', 'ticket'].includes(labels.severity)]).toEqual([alert, true]);
      expect(annotations.summary).toBeTruthy();
      expect(annotations.description).toBeTruthy();
      expect(annotations.runbook_url).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    }
    const runbook = readFileSync('docs/alerts.md', 'utf8');
    const sections = [...runbook.matchAll(/^### (Latchkey\w+)$/gm)].map(([, name]) => name);
    expect(sections.sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });
});

describe('the dashboard', () => {
  it('describes every panel with a unit and the chosen Prometheus, without overlaps', () => {
    expect(dashboard.templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource' });
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    for (const { title, description, datasource, fieldConfig, targets = [] } of panels) {
      expect([title, description?.endsWith('.'), fieldConfig?.defaults.unit !== undefined]).toEqual([
        title,
        true,
        true,
      ]);
      expect(targets.length).toBeGreaterThan(0);
      for (const each of [{ datasource }, ...targets]) expect(each.datasource?.uid).toBe('${datasource}');
    }
    const cells = dashboard.panels.flatMap(({ title, gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => [`${String(x + (i % w))}:${String(y + Math.floor(i / w))}`, title]),
    );
    expect(new Map(cells as [string, string][]).size).toBe(cells.length);
    expect(dashboard.panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  });

  withPromtool('every query is one', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-dashboard-'));
    try {
      const file = path.join(folder, 'rules.json');
      const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      const asRules = queries.map((expr, i) => ({
        record: `query:${String(i)}`,
        expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
      }));
      writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: asRules }] }));
      expect(promtool('check', 'rules', file)).toContain(`SUCCESS: ${String(queries.length)} rules found`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('shows every metric of Latchkey', () => {
    const shown = new Set(
      panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => selectorsOf(expr))).map(([name]) => name),
    );
    expect(Object.keys(METRICS).filter((name) => !shown.has(name))).toEqual([]);
  });
});

it('use only existing metrics and labels in alerts and dashboard', () => {
  const unknown = expressions.flatMap((expr) => {
    const selectors = selectorsOf(expr);
    const known = new Set([...TARGET_LABELS, ...selectors.flatMap(([name]) => METRICS[name] ?? [])]);
    return [
      ...selectors.filter(([name]) => METRICS[name] === undefined).map(([name]) => name),
      ...selectors.flatMap(([name, labels]) =>
        labels.filter((label) => ![...TARGET_LABELS, ...(METRICS[name] ?? [])].includes(label)),
      ),
      ...groupedBy(expr).filter((label) => selectors.length > 0 && !known.has(label)),
    ];
  });
  expect(unknown).toEqual([]);
});

it('are all served by a running instance', async () => {
  const app = await TestApp.start();
  const server = new ServerProcess({
    env: {
      PORT: '0',
      OPS_PORT: '0',
      NODE_ENV: 'development',
      DATABASE_URL: app.databaseUrl,
      PUBLIC_URL: app.config.publicUrl,
      KEY_ENCRYPTION_KEY: app.config.keyEncryptionKeys[0].toString('base64'),
    },
  });
  try {
    await server.listening();
    const text = await (await fetch(`${server.line('Operations on ')}/metrics`)).text();
    const served = [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name);
    expect(Object.keys(METRICS).filter((name) => !served.includes(name))).toEqual([]);
    expect(served.filter((name) => name?.startsWith('latchkey_') && METRICS[name] === undefined)).toEqual([]);
    const series = [...text.matchAll(/^(latchkey_\w+)(?:\{(.*)\})? /gm)];
    const labels = series.flatMap(([, name = '', pairs = '']) =>
      [...pairs.matchAll(/(\w+)="/g)].map(([, label = '']) => [base(name), label] as const),
    );
    expect(labels.length).toBeGreaterThan(0);
    expect(labels.filter(([name, label]) => METRICS[name]?.includes(label) !== true)).toEqual([]);
  } finally {
    await server.kill('SIGTERM');
    await app.close();
  }
});
