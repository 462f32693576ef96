import * as postgresql from '@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1';
import * as monitoring from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import * as apps from 'kubernetes-models/apps/v1';
import * as autoscaling from 'kubernetes-models/autoscaling/v2';
import * as batch from 'kubernetes-models/batch/v1';
import * as networking from 'kubernetes-models/networking.k8s.io/v1';
import * as policy from 'kubernetes-models/policy/v1';
import * as core from 'kubernetes-models/v1';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ts from 'typescript';
import { parse } from 'yaml';
import { loadConfig } from '../../src/platform/config/config.ts';
import { SETTING_ROWS } from '../../src/platform/config/settings.ts';
import { type Manifest, readManifests, render, walk } from '../support/kustomize.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const FOLDER = path.join(ROOT, 'deploy/kubernetes');
const README = readFileSync(path.join(FOLDER, 'README.md'), 'utf8');

/** Where the schemas of each API are. */
const APIS: Record<string, { module: string; models: object }> = {
  v1: { module: 'kubernetes-models/v1', models: core },
  'apps/v1': { module: 'kubernetes-models/apps/v1', models: apps },
  'autoscaling/v2': { module: 'kubernetes-models/autoscaling/v2', models: autoscaling },
  'batch/v1': { module: 'kubernetes-models/batch/v1', models: batch },
  'networking.k8s.io/v1': { module: 'kubernetes-models/networking.k8s.io/v1', models: networking },
  'policy/v1': { module: 'kubernetes-models/policy/v1', models: policy },
  'monitoring.coreos.com/v1': {
    module: '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
    models: monitoring,
  },
  'postgresql.cnpg.io/v1': {
    module: '@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1',
    models: postgresql,
  },
};
/** Nobody publishes a schema of these to npm. The README says so. */
const WITHOUT_SCHEMA = ['barmancloud.cnpg.io/v1 ObjectStore'];

/** In the order of a first installation. */
const STAGES = ['overlays/example/data', 'overlays/example/migration', 'overlays/example'];
const rendered = new Map(STAGES.map((stage) => [stage, render(path.join(FOLDER, stage))]));
/** The settings are in two stages, and one object. */
const all = [
  ...new Map([...rendered.values()].flat().map((manifest) => [JSON.stringify(manifest), manifest])).values(),
];

type Labels = Record<string, string>;
interface Port {
  name?: string;
  port?: number | string;
  containerPort?: number;
  targetPort?: number | string;
}
interface Probe {
  httpGet?: { path: string; port: string };
  tcpSocket?: { port: string };
  periodSeconds: number;
  failureThreshold: number;
}
interface Container {
  name: string;
  image: string;
  ports?: Port[];
  env?: {
    name: string;
    value?: string;
    valueFrom?: { secretKeyRef?: { name: string; key: string; optional?: boolean } };
  }[];
  envFrom?: { configMapRef: { name: string } }[];
  securityContext: Record<string, unknown>;
  resources: { requests: Labels; limits: Labels };
  volumeMounts?: { name: string; readOnly?: boolean }[];
  startupProbe?: Probe;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  lifecycle?: { preStop: { sleep: { seconds: number } } };
}
interface Pod {
  metadata: { labels: Labels };
  spec: {
    automountServiceAccountToken: boolean;
    enableServiceLinks: boolean;
    serviceAccountName?: string;
    terminationGracePeriodSeconds: number;
    securityContext: Record<string, unknown>;
    containers: Container[];
    volumes?: { name: string; secret?: { secretName: string; items?: { key: string }[] } }[];
    topologySpreadConstraints?: { labelSelector: Selector }[];
  };
}
interface Selector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: string; values: string[] }[];
}
interface Workload extends Manifest {
  spec: { template: Pod; selector?: Selector; replicas?: number; strategy?: { rollingUpdate?: Labels } };
}
interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}
interface NetworkPolicy extends Manifest {
  spec: {
    podSelector: Selector;
    policyTypes: string[];
    ingress?: { from?: Peer[]; ports?: Port[] }[];
    egress?: { to?: Peer[]; ports?: Port[] }[];
  };
}
interface Service extends Manifest {
  spec: { selector: Labels; ports: Required<Pick<Port, 'name' | 'port' | 'targetPort'>>[] };
}

const ofKind = <T extends Manifest>(kind: string): T[] =>
  all.filter((manifest): manifest is T => manifest.kind === kind);
const named = <T extends Manifest>(kind: string, name: string): T => {
  const [found, ...others] = ofKind<T>(kind).filter(({ metadata }) => metadata.name === name);
  if (found === undefined || others.length > 0) throw new Error(`Not one ${kind} ${name}`);
  return found;
};
const title = ({ apiVersion, kind, metadata }: Manifest): string => `${apiVersion} ${kind} ${metadata.name}`;

const workloads = [...ofKind<Workload>('Deployment'), ...ofKind<Workload>('Job')];
const pods = workloads.map(({ spec }) => spec.template);
const server = named<Workload>('Deployment', 'latchkey');
const [latchkey] = server.spec.template.spec.containers;
if (latchkey === undefined) throw new Error('The server has no container');
const settings = (container: Container): Record<string, string> =>
  Object.assign(
    {},
    ...(container.envFrom ?? []).map(({ configMapRef }) => named<Manifest>('ConfigMap', configMapRef.name)['data']),
    ...(container.env ?? []).map(({ name, value = '' }) => ({ [name]: value })),
  ) as Record<string, string>;

/** The pods that a selector means; those of a cluster of CloudNativePG have its label. */
const databasePod = { labels: { 'cnpg.io/cluster': 'latchkey-postgres' }, ports: [5432, 8000, 9187] };
const endpoints = [
  databasePod,
  ...pods.map(({ metadata, spec }) => ({
    labels: metadata.labels,
    ports: spec.containers.flatMap(({ ports = [] }) => ports.flatMap((port) => [port.name, port.containerPort])),
  })),
];
const isSelected = (labels: Labels, { matchLabels = {}, matchExpressions = [] }: Selector): boolean =>
  Object.entries(matchLabels).every(([name, value]) => labels[name] === value) &&
  matchExpressions.every(({ key, operator, values }) => {
    if (operator !== 'In') throw new Error(`Not understood: ${operator}`);
    return values.includes(labels[key] ?? '');
  });
const selected = (selector: Selector) => endpoints.filter(({ labels }) => isSelected(labels, selector));

describe('each object', () => {
  const known = all.filter(({ apiVersion, kind }) => !WITHOUT_SCHEMA.includes(`${apiVersion} ${kind}`));

  it.each(known.map((manifest) => [title(manifest), manifest] as const))('is valid: %s', (_, manifest) => {
    const models = APIS[manifest.apiVersion]?.models as Record<string, new (data: Manifest) => { validate(): void }>;
    const Model = models[manifest.kind];
    expect(Model).toBeDefined();
    if (Model) new Model(manifest).validate();
  });

  it('has no field that its type lacks', () => {
    const modules = [...new Set(known.map(({ apiVersion }) => apiVersion))];
    const source = [
      ...modules.map((api, index) => `import type * as api${String(index)} from '${APIS[api]?.module ?? ''}';`),
      ...known.map((manifest, index) => {
        const type = `api${String(modules.indexOf(manifest.apiVersion))}.I${manifest.kind}`;
        return `export const object${String(index)}: ${type} = ${JSON.stringify(manifest)};`;
      }),
    ].join('\n');
    expect(typeErrors(source)).toEqual([]);
    // The check itself: a field that is nearly right.
    expect(typeErrors(source.replace('"readinessProbe"', '"readynessProbe"'))).toEqual([
      expect.stringContaining('readynessProbe'),
    ]);
  });

  it('has a schema, or the README says that it was not checked', () => {
    const unchecked = all.filter((manifest) => !known.includes(manifest)).map(({ kind }) => kind);
    expect(unchecked).toEqual(['ObjectStore']);
    for (const kind of unchecked) expect(README).toMatch(new RegExp(`\`${kind}\`[^.]* not validated`));
  });

  it('is in one namespace and unique', () => {
    const names = all.map(title);
    expect(new Set(names).size).toBe(names.length);
    for (const { kind, metadata } of all) {
      if (kind === 'Namespace') expect(metadata.name).toBe('latchkey');
      else expect(metadata.namespace).toBe('latchkey');
    }
  });

  it('is in a file that a kustomization names', () => {
    const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));
    const reached = new Set<string>();
    for (const file of files.filter((name) => name.endsWith('kustomization.yaml'))) {
      walk(readManifests(path.join(FOLDER, file)), ({ resources = [], patches = [] }) => {
        for (const resource of resources as string[]) reached.add(path.join(path.dirname(file), resource));
        for (const patch of patches as { path: string }[]) reached.add(path.join(path.dirname(file), patch.path));
      });
    }
    expect(files.filter((file) => !file.endsWith('kustomization.yaml') && !reached.has(file))).toEqual([]);
  });
});

describe('alerts', () => {
  const RULES = 'deploy/observability/alerts.yml';
  const SAMPLE =
    'groups:\n  - name: sample\n    rules:\n      - alert: Sample\n        expr: vector(1) > 0\n        for: 5m\n';

  it('become an object of the operator by the command of the README', () => {
    const command = /```sh\n(\{ printf [\s\S]+?)```/.exec(README)?.[1] ?? '';
    const rules = [
      SAMPLE,
      ...(existsSync(path.join(ROOT, RULES)) ? [readFileSync(path.join(ROOT, RULES), 'utf8')] : []),
    ];
    for (const text of rules) {
      const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-alerts-'));
      try {
        mkdirSync(path.join(folder, path.dirname(RULES)), { recursive: true });
        writeFileSync(path.join(folder, RULES), text);
        const output = execFileSync('bash', ['-c', `kubectl() { cat; }; ${command}`], {
          cwd: folder,
          encoding: 'utf8',
        });
        const rule = parse(output) as Manifest & { spec: unknown };
        expect(title(rule)).toBe('monitoring.coreos.com/v1 PrometheusRule latchkey');
        expect(rule.spec).toEqual(parse(text));
        new monitoring.PrometheusRule(
          rule as unknown as ConstructorParameters<typeof monitoring.PrometheusRule>[0],
        ).validate();
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
  });
});

describe('a reference', () => {
  it('of a selector selects its own pods', () => {
    for (const { spec } of workloads.filter(({ kind }) => kind === 'Deployment')) {
      expect(isSelected(spec.template.metadata.labels, spec.selector ?? {})).toBe(true);
      for (const { labelSelector } of spec.template.spec.topologySpreadConstraints ?? []) {
        expect(isSelected(spec.template.metadata.labels, labelSelector)).toBe(true);
      }
    }
    const budget = named<Manifest & { spec: { selector: Selector } }>('PodDisruptionBudget', 'latchkey');
    expect(selected(budget.spec.selector).map(({ labels }) => labels)).toEqual([server.spec.template.metadata.labels]);
    const scaler = named<Manifest & { spec: { scaleTargetRef: { kind: string; name: string } } }>(
      'HorizontalPodAutoscaler',
      'latchkey',
    );
    expect(named('Deployment', scaler.spec.scaleTargetRef.name)).toBe(server);
  });

  it('of a service names a port of the selected pods', () => {
    const services = ofKind<Service>('Service');
    expect(services.map(({ metadata }) => metadata.name).sort()).toEqual([
      'latchkey',
      'latchkey-admin',
      'latchkey-ops',
      'latchkey-valkey',
    ]);
    for (const { spec } of services) {
      const [pod, ...others] = selected({ matchLabels: spec.selector });
      expect(others).toEqual([]);
      for (const { targetPort } of spec.ports) expect(pod?.ports).toContain(targetPort);
    }
  });

  it('of the ingress names the public port of the partner API only', () => {
    const backends: unknown[] = [];
    walk(named('Ingress', 'latchkey'), ({ service }) => {
      if (service !== undefined) backends.push(service);
    });
    expect(backends).toEqual([{ name: 'latchkey', port: { name: 'public' } }]);
    expect(named<Service>('Service', 'latchkey').spec.ports.map(({ targetPort }) => targetPort)).toEqual(['public']);
  });

  it('of the monitor selects the service of operations and its port', () => {
    const monitor = named<Manifest & { spec: { selector: Selector; endpoints: { port: string; path: string }[] } }>(
      'ServiceMonitor',
      'latchkey',
    );
    const services = ofKind<Service>('Service').filter(({ metadata }) =>
      isSelected(metadata.labels ?? {}, monitor.spec.selector),
    );
    expect(services.map(({ metadata }) => metadata.name)).toEqual(['latchkey-ops']);
    expect(monitor.spec.endpoints).toMatchObject([{ port: services[0]?.spec.ports[0]?.name, path: '/metrics' }]);
  });

  it('of a probe names a port of the container', () => {
    for (const { startupProbe, livenessProbe, readinessProbe, ports = [] } of pods.flatMap(
      ({ spec }) => spec.containers,
    )) {
      for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
        if (probe) expect(ports.map(({ name }) => name)).toContain((probe.httpGet ?? probe.tcpSocket)?.port);
      }
    }
    expect(
      [latchkey.startupProbe, latchkey.livenessProbe, latchkey.readinessProbe].map((probe) => probe?.httpGet),
    ).toEqual(['startup', 'live', 'ready'].map((state) => ({ path: `/health/${state}`, port: 'ops' })));
  });

  it('to a port agrees with the settings', () => {
    const { PORT, ADMIN_PORT, OPS_PORT } = settings(latchkey);
    expect(latchkey.ports).toEqual([
      { name: 'public', containerPort: Number(PORT) },
      { name: 'admin', containerPort: Number(ADMIN_PORT) },
      { name: 'ops', containerPort: Number(OPS_PORT) },
    ]);
  });

  it('to a secret is satisfied by the commands of the README or by CloudNativePG', () => {
    const made = new Map<string, Set<string>>([['latchkey-postgres-ca', new Set(['ca.crt'])]]);
    const commands = README.replaceAll(/\\\n\s*/g, '').matchAll(/kubectl create secret generic (\S+)(.*)/g);
    for (const [, name = '', options = ''] of commands) {
      made.set(name, new Set([...options.matchAll(/--from-literal=([^\s=]+)=/g)].map(([, key = '']) => key)));
    }
    const used: [string, string][] = [];
    walk(all, ({ secretKeyRef, secret, passwordSecret, accessKeyId, secretAccessKey }) => {
      const reference = (secretKeyRef ?? accessKeyId) as { name: string; key: string; optional?: boolean } | undefined;
      // What may be missing may also be made.
      const isMissing = reference?.optional === true && made.get(reference.name)?.has(reference.key) !== true;
      if (reference && !isMissing) used.push([reference.name, reference.key]);
      const other = secretAccessKey as { name: string; key: string } | undefined;
      if (other) used.push([other.name, other.key]);
      const mounted = secret as { secretName?: string; name?: string; items?: { key: string }[] } | undefined;
      if (mounted?.secretName === 'latchkey-valkey') used.push([mounted.secretName, 'users.acl']);
      else if (mounted?.secretName !== undefined) {
        expect(mounted.items).toBeDefined();
        for (const { key } of mounted.items ?? []) used.push([mounted.secretName, key]);
      }
      const role = mounted?.name ?? (passwordSecret as { name: string } | undefined)?.name;
      if (role !== undefined) used.push([role, 'username'], [role, 'password']);
    });
    expect(new Set(used.map(([name]) => name))).toEqual(new Set(made.keys()));
    expect(used.filter(([name, key]) => made.get(name)?.has(key) !== true)).toEqual([]);
  });

  it('commits no secret', () => {
    expect(ofKind('Secret')).toEqual([]);
    expect(JSON.stringify(all)).not.toMatch(/postgres:\/\/|redis:\/\/|PASSWORD '/i);
  });

  it('of a mount has a volume that is read-only', () => {
    for (const { spec } of pods) {
      for (const mount of spec.containers.flatMap(({ volumeMounts = [] }) => volumeMounts)) {
        expect(spec.volumes?.map(({ name }) => name)).toContain(mount.name);
        expect(mount.readOnly).toBe(true);
      }
    }
  });
});

describe('settings', () => {
  /** Read by Node and by the libraries of Latchkey themselves. */
  const FOREIGN = 'OTEL_';
  const rows = SETTING_ROWS.filter(([, { replacedBy }]) => replacedBy === undefined);
  const known: string[] = rows.map(([name]) => name);

  it.each([
    ['the server', server],
    ['the migration', named<Workload>('Job', 'latchkey-migrate')],
  ] as const)('of %s exist and are accepted in production', (_, { spec }) => {
    const [container] = spec.template.spec.containers;
    if (container === undefined) throw new Error('No container');
    const given = settings(container);
    expect(Object.keys(given).filter((name) => !known.includes(name) && !name.startsWith(FOREIGN))).toEqual([]);

    const secrets = {
      DATABASE_URL,
      KEY_ENCRYPTION_KEY: KEY,
      REDIS_URL: 'redis://latchkey:0a9b8c@latchkey-valkey:6379/0',
    };
    const used = Object.entries(secrets).filter(([name]) => container.env?.some((variable) => variable.name === name));
    const environment = { NODE_ENV: 'production', ...given, ...Object.fromEntries(used) };
    expect(loadConfig(environment)).toMatchObject({ production: true, publicUrl: 'https://latchkey.example' });
  });
  const KEY = 'q83vEjRWeJq83vEjRWeJq0Zx1K5mP7tYwQbLcNdRsUo=';
  const DATABASE_URL = 'postgres://latchkey:0a9b8c@latchkey-postgres-rw:5432/latchkey';

  /** Those that the image or the manifest decides, and the folder of the embedded database. */
  const DECIDED = ['HOST', 'PORT', 'OPS_PORT', 'LATCHKEY_DATA_DIR'];

  it('can all be passed through docker-compose.yml by name', () => {
    const compose = parse(readFileSync(path.join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
      services: Record<string, { environment: Record<string, string> }>;
    };
    for (const service of ['app', 'migrate']) {
      const given = compose.services[service]?.environment ?? {};
      expect(
        Object.keys(given)
          .filter((name) => !name.startsWith(FOREIGN))
          .sort(),
      ).toEqual(known.filter((name) => !DECIDED.includes(name)).sort());
      for (const [name, value] of Object.entries(given)) {
        if (/^(NODE_ENV|DATABASE_URL|DATABASE_PASSWORD)$/.test(name)) continue;
        expect(value).toMatch(new RegExp(`^\\$\\{${name}[-:]`));
      }
      // Any password will do: none stands in a URL.
      expect(
        loadConfig({
          ...given,
          PUBLIC_URL: 'https://x.example',
          ...withoutVariables(given),
          KEY_ENCRYPTION_KEY: KEY,
          DATABASE_PASSWORD: 'a/b+c=d%e#f?g@h',
        }),
      ).toMatchObject({ production: true });
    }
  });
  const withoutVariables = (given: Record<string, string>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(given).flatMap(([name, value]) => (/^\$\{\w+-\}$/.test(value) ? [[name, '']] : [])),
    );

  it('can be passed to the servers of the cluster as secrets or by the ConfigMap', () => {
    expect(
      latchkey.env
        ?.filter(({ valueFrom }) => valueFrom?.secretKeyRef)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(
      rows
        .filter(([, { secret }]) => secret)
        .map(([name]) => name)
        .sort(),
    );
    expect(latchkey.envFrom).toEqual([{ configMapRef: { name: expect.any(String) as string } }]);
  });

  it('with the placeholders of the README are refused in production', () => {
    const environment = Object.fromEntries(
      [...README.matchAll(/^(DATABASE_URL|KEY_ENCRYPTION_KEY|PUBLIC_URL)=(\S+)$/gm)].map(([, name, value]) => [
        name,
        value,
      ]),
    ) as Record<string, string>;
    expect(Object.keys(environment).sort()).toEqual(['DATABASE_URL', 'KEY_ENCRYPTION_KEY', 'PUBLIC_URL']);
    expect(() => loadConfig({ NODE_ENV: 'production', ...environment })).toThrow(
      /DATABASE_URL must not contain an example/,
    );
    expect(() => loadConfig({ NODE_ENV: 'production', ...environment, DATABASE_URL })).toThrow(
      /KEY_ENCRYPTION_KEY must/,
    );
    expect(loadConfig({ NODE_ENV: 'production', ...environment, DATABASE_URL, KEY_ENCRYPTION_KEY: KEY })).toBeDefined();
  });

  it('use one object and one image for the migration and the servers', () => {
    const [migration] = named<Workload>('Job', 'latchkey-migrate').spec.template.spec.containers;
    expect(migration?.image).toBe(latchkey.image);
    expect(migration?.envFrom).toEqual(latchkey.envFrom);
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(latchkey.image).toBe(`registry.example/latchkey:${version}`);
  });

  it('leave room for every instance in PostgreSQL', () => {
    interface Cluster extends Manifest {
      spec: {
        postgresql: { parameters: Record<string, string> };
        managed: { roles: { connectionLimit: number }[] };
      };
    }
    const { postgresql: database, managed } = named<Cluster>('Cluster', 'latchkey-postgres').spec;
    const scaler = named<Manifest & { spec: { minReplicas: number; maxReplicas: number } }>(
      'HorizontalPodAutoscaler',
      'latchkey',
    );
    const perInstance = Number(settings(latchkey)['DATABASE_POOL_SIZE']) + 2; // One listens, one looks for pending migrations.
    const wanted = (scaler.spec.maxReplicas + Number(server.spec.strategy?.rollingUpdate?.['maxSurge'])) * perInstance;
    const limit = managed.roles[0]?.connectionLimit ?? 0;
    expect(wanted).toBeLessThanOrEqual(limit);
    // The operator, replication and the owner need some, too.
    expect(limit + 15).toBeLessThanOrEqual(Number(database.parameters['max_connections']));
  });
});

describe('pods', () => {
  it.each(workloads.map((workload) => [workload.metadata.name, workload.spec.template] as const))(
    'have only the rights that they need: %s',
    (_, { spec }) => {
      expect(spec.automountServiceAccountToken).toBe(false);
      expect(spec.enableServiceLinks).toBe(false);
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: expect.any(Number) as number,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const { securityContext, resources, image } of spec.containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(resources).toMatchObject({
          requests: { cpu: expect.any(String) as string, memory: expect.any(String) as string },
          limits: { memory: expect.any(String) as string },
        });
        expect(image).toMatch(/:\d+\.\d+\.\d+$/);
      }
    },
  );

  it('run as the user of the image', () => {
    // "node" of the official image is 1000.
    expect(readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8')).toMatch(/^USER node$/m);
    expect(server.spec.template.spec.securityContext['runAsUser']).toBe(1000);
    expect(named('ServiceAccount', server.spec.template.spec.serviceAccountName ?? '')).toMatchObject({
      automountServiceAccountToken: false,
    });
  });

  it('are replaced one by one without a gap and have time to finish', () => {
    expect(server.spec.strategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
    // The contract: exit within 10 s of SIGTERM.
    const pause = latchkey.lifecycle?.preStop.sleep.seconds ?? 0;
    expect(server.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(10 + pause);
    expect(pause).toBeGreaterThan(0);
  });

  it('are three or more, as only the autoscaler decides', () => {
    expect(server.spec.replicas).toBeUndefined();
    const scaler = named<Manifest & { spec: { minReplicas: number } }>('HorizontalPodAutoscaler', 'latchkey');
    expect(scaler.spec.minReplicas).toBe(3);
    expect(named('PodDisruptionBudget', 'latchkey')).toMatchObject({ spec: { maxUnavailable: 1 } });
  });
});

describe('network policies', () => {
  const policies = ofKind<NetworkPolicy>('NetworkPolicy');

  it('deny by default, and each pod has its own', () => {
    expect(named<NetworkPolicy>('NetworkPolicy', 'default-deny').spec).toEqual({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
    for (const { labels } of endpoints) {
      const own = policies.filter(
        ({ spec, metadata }) => metadata.name !== 'default-deny' && isSelected(labels, spec.podSelector),
      );
      expect(own).toHaveLength(1);
      expect(own[0]?.spec.policyTypes).toEqual(['Ingress', 'Egress']);
    }
  });

  it('name existing ports and pods', () => {
    for (const { spec, metadata } of policies.filter(({ metadata: { name } }) => name !== 'default-deny')) {
      const own = selected(spec.podSelector).flatMap(({ ports }) => ports);
      for (const { ports = [] } of spec.ingress ?? []) for (const { port } of ports) expect(own).toContain(port);
      for (const { to = [], ports = [] } of spec.egress ?? []) {
        for (const { podSelector } of to.filter(({ namespaceSelector, ipBlock }) => !namespaceSelector && !ipBlock)) {
          const theirs = selected(podSelector ?? {});
          expect([metadata.name, theirs.length]).toEqual([metadata.name, 1]);
          for (const { port } of ports) expect(theirs[0]?.ports).toContain(port);
        }
      }
    }
  });

  it('allow both ends of a connection', () => {
    const allowsFrom = (target: Labels, source: Labels, port: number) =>
      policies
        .filter(({ spec }) => isSelected(target, spec.podSelector))
        .flatMap(({ spec }) => spec.ingress ?? [])
        .filter(({ from = [] }) => from.some(({ podSelector }) => podSelector && isSelected(source, podSelector)))
        .flatMap(({ ports = [] }) => ports.map((entry) => entry.port))
        .map((name) => (name === 'valkey' ? 6379 : name))
        .includes(port);
    const labels = server.spec.template.metadata.labels;
    const migration = named<Workload>('Job', 'latchkey-migrate').spec.template.metadata.labels;
    const valkey = named<Workload>('Deployment', 'latchkey-valkey').spec.template.metadata.labels;
    expect(allowsFrom(databasePod.labels, labels, 5432)).toBe(true);
    expect(allowsFrom(databasePod.labels, migration, 5432)).toBe(true);
    expect(allowsFrom(databasePod.labels, valkey, 5432)).toBe(false);
    expect(allowsFrom(valkey, labels, 6379)).toBe(true);
    expect(allowsFrom(valkey, migration, 6379)).toBe(false);
  });

  it('let each API be reached only from its own side', () => {
    const { ingress = [] } = named<NetworkPolicy>('NetworkPolicy', 'latchkey').spec;
    expect(
      ingress.map(({ from = [], ports = [] }) => [
        ports.map(({ port }) => port),
        from.map(({ namespaceSelector, podSelector }) => [namespaceSelector?.matchLabels, podSelector]),
      ]),
    ).toEqual([
      [['public'], [[{ 'kubernetes.io/metadata.name': 'ingress' }, undefined]]],
      [['admin'], [[{ 'latchkey/staff-access': 'true' }, undefined]]],
      [['ops'], [[{ 'kubernetes.io/metadata.name': 'monitoring' }, undefined]]],
    ]);
  });

  it('keep webhooks away from private addresses', () => {
    const blocks = (named<NetworkPolicy>('NetworkPolicy', 'latchkey').spec.egress ?? []).flatMap(({ to = [], ports }) =>
      to.flatMap(({ ipBlock }) => (ipBlock ? [{ ...ipBlock, ports }] : [])),
    );
    expect(blocks.map(({ cidr, ports }) => [cidr, ports])).toEqual([
      ['0.0.0.0/0', [{ port: 443, protocol: 'TCP' }]],
      ['2000::/3', [{ port: 443, protocol: 'TCP' }]],
    ]);
    expect(blocks[0]?.except).toEqual(
      expect.arrayContaining([
        '10.0.0.0/8',
        '100.64.0.0/10',
        '127.0.0.0/8',
        '169.254.0.0/16',
        '172.16.0.0/12',
        '192.168.0.0/16',
      ]),
    );
  });
});

const declarations = new Map<string, ts.SourceFile>();

/** What the compiler has against a module of the repository. */
function typeErrors(source: string): string[] {
  const file = path.join(ROOT, 'test/manifests.ts');
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  host.fileExists = (name) => name === file || ts.sys.fileExists(name);
  host.getSourceFile = (name, version) => {
    if (name === file) return ts.createSourceFile(file, source, version);
    const text = declarations.has(name) ? undefined : ts.sys.readFile(name);
    if (text !== undefined) declarations.set(name, ts.createSourceFile(name, text, version));
    return declarations.get(name);
  };
  return ts
    .getPreEmitDiagnostics(ts.createProgram([file], options, host))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}
