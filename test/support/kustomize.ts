import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

/** A Kubernetes object, as written in its manifest. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  [field: string]: unknown;
}

type Json = Record<string, unknown>;

interface Image {
  name: string;
  newName?: string;
  newTag?: string;
}

interface Kustomization {
  apiVersion: string;
  kind: string;
  namespace?: string;
  resources?: string[];
  components?: string[];
  patches?: { path: string }[];
  images?: Image[];
  configMapGenerator?: { name: string; literals: string[] }[];
}

const FIELDS = [
  'apiVersion',
  'kind',
  'namespace',
  'resources',
  'components',
  'patches',
  'images',
  'configMapGenerator',
];

/** Reads every document of a YAML file. @throws for a repeated key and every other error in the text */
export function readManifests(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(file, 'utf8'), { uniqueKeys: true, version: '1.2' }).map((document) => {
    const [fault] = [...document.errors, ...document.warnings];
    if (fault) throw new Error(`${file}: ${fault.message}`);
    return document.toJS() as Manifest;
  });
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Calls `visit` for every object in `value`, including `value` itself. */
export function walk(value: unknown, visit: (object: Json) => void): void {
  if (isObject(value)) visit(value);
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) walk(inner, visit);
}

/** Merges a patch by RFC 7396, as kustomize does for custom resources. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: Json = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(merged, name);
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

/** The suffix of generated objects in kustomize. Other content makes another name, and so another object. */
function contentHash(data: Record<string, string>): string {
  const text = JSON.stringify({
    data: Object.fromEntries(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1))),
    kind: 'ConfigMap',
    name: '',
  }).replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
  const vowelless: Record<string, string> = { 0: 'g', 1: 'h', 3: 'k', a: 'm', e: 't' };
  return createHash('sha256')
    .update(text)
    .digest('hex')
    .slice(0, 10)
    .replace(/[013ae]/g, (digit) => vowelless[digit] ?? digit);
}

/**
 * Renders a folder as `kubectl kustomize` does. Supports only what `deploy/kubernetes` uses, and throws otherwise.
 *
 * @param folder the folder of a `kustomization.yaml`
 * @param received the objects that a component may change
 */
export function render(folder: string, received: Manifest[] = []): Manifest[] {
  const file = path.join(folder, 'kustomization.yaml');
  const [kustomization, ...others] = readManifests(file) as unknown as Kustomization[];
  if (kustomization === undefined || others.length > 0) throw new Error(`${file} is not one document`);
  const unknown = Object.keys(kustomization).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0) throw new Error(`${file}: not understood: ${unknown.join(', ')}`);

  let manifests = [...received];
  for (const resource of kustomization.resources ?? []) {
    const target = path.join(folder, resource);
    manifests.push(...(statSync(target).isDirectory() ? render(target) : readManifests(target)));
  }
  for (const component of kustomization.components ?? []) manifests = render(path.join(folder, component), manifests);
  for (const patch of kustomization.patches ?? []) applyPatch(manifests, path.join(folder, patch.path));
  for (const { name, literals } of kustomization.configMapGenerator ?? []) {
    manifests.push(generateConfigMap(manifests, name, literals));
  }
  for (const image of kustomization.images ?? []) setImage(manifests, image);
  if (kustomization.namespace !== undefined) setNamespace(manifests, kustomization.namespace);
  return manifests;
}

function applyPatch(manifests: Manifest[], file: string): void {
  for (const patch of readManifests(file)) {
    if (!patch.apiVersion.includes('.')) throw new Error(`${file}: only custom resources are patched here`);
    const index = manifests.findIndex(
      ({ apiVersion, kind, metadata }) =>
        apiVersion === patch.apiVersion && kind === patch.kind && metadata.name === patch.metadata.name,
    );
    if (index < 0) throw new Error(`${file}: there is no ${patch.kind} ${patch.metadata.name}`);
    manifests[index] = mergePatch(manifests[index], patch) as Manifest;
  }
}

function generateConfigMap(manifests: Manifest[], name: string, literals: string[]): Manifest {
  const data = Object.fromEntries(
    literals.map((literal) => {
      const at = literal.indexOf('=');
      if (at < 1) throw new Error(`${name}: ${literal} is not name=value`);
      return [literal.slice(0, at), literal.slice(at + 1)];
    }),
  );
  const generated = `${name}-${contentHash(data)}`;
  walk(manifests, (object) => {
    const reference = object['configMapRef'] ?? object['configMapKeyRef'] ?? object['configMap'];
    if (isObject(reference) && reference['name'] === name) reference['name'] = generated;
  });
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: generated }, data };
}

function setImage(manifests: Manifest[], { name, newName = name, newTag }: Image): void {
  walk(manifests, (object) => {
    const match = /^(.+?)(?::([^:/]+))?$/.exec(typeof object['image'] === 'string' ? object['image'] : '');
    if (match?.[1] !== name) return;
    const tag = newTag ?? match[2];
    object['image'] = tag === undefined ? newName : `${newName}:${tag}`;
  });
}

function setNamespace(manifests: Manifest[], namespace: string): void {
  for (const { kind, metadata } of manifests) {
    if (kind === 'Namespace') metadata.name = namespace;
    else metadata.namespace = namespace;
  }
}
