/** Writes the types of the partner API, from the repository's `openapi.json`. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import generate, { astToString, type OpenAPI3 } from 'openapi-typescript';

const document = JSON.parse(readFileSync(path.join(import.meta.dirname, '../../openapi.json'), 'utf8')) as OpenAPI3;
const types = path.join(import.meta.dirname, 'src/openapi.ts');

const paths = Object.entries(document.paths ?? {}).filter(([url]) => !url.startsWith('/admin'));
const schemas = document.components?.schemas ?? {};

/** Those that something names, and those that they name. */
function reached(from: unknown, found = new Set<string>()): Set<string> {
  for (const [, name = ''] of JSON.stringify(from).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    reached(schemas[name], found);
  }
  return found;
}

const kept = reached(paths);
const partnerApi: OpenAPI3 = {
  ...document,
  paths: Object.fromEntries(paths),
  components: {
    ...document.components,
    schemas: Object.fromEntries(Object.entries(schemas).filter(([name]) => kept.has(name))),
  },
};
const text = astToString(await generate(partnerApi, { defaultNonNullable: false }));
if (!existsSync(types) || readFileSync(types, 'utf8') !== text) writeFileSync(types, text);
