/**
 * Writes the types of the API from `openapi.json`, for the console and for the client: a change of the contract that one
 * of them does not follow breaks its type check. Does nothing if the files are up to date.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { OpenAPI3 } from 'openapi-typescript';

const root = path.join(import.meta.dirname, '..');
const contract = path.join(root, 'openapi.json');
const CONSOLE = path.join(root, 'console/src/openapi.ts');
const CLIENT = path.join(root, 'clients/typescript/src/openapi.ts');

/** The last line of a complete file made of what `openapi.json`, the generator and this script are now. */
function closingLine(): string {
  const hash = createHash('sha256');
  for (const file of [contract, path.join(root, 'package-lock.json'), import.meta.filename]) {
    hash.update(readFileSync(file)).update('\0');
  }
  return `// Made of openapi.json by console/api-types.ts, sha256 ${hash.digest('hex')}\n`;
}

/** The partner API: every path but those of staff, and the schemas that they need. */
function partnerApi(document: OpenAPI3): OpenAPI3 {
  const paths = Object.entries(document.paths ?? {}).filter(([url]) => !url.startsWith('/admin'));
  const schemas = document.components?.schemas ?? {};
  const kept = new Set<string>();
  const keep = (from: unknown): void => {
    for (const [, name = ''] of JSON.stringify(from).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (kept.has(name)) continue;
      kept.add(name);
      keep(schemas[name]);
    }
  };
  keep(paths);
  return {
    ...document,
    paths: Object.fromEntries(paths),
    components: {
      ...document.components,
      schemas: Object.fromEntries(Object.entries(schemas).filter(([name]) => kept.has(name))),
    },
  };
}

const last = closingLine();
if (![CONSOLE, CLIENT].every((file) => existsSync(file) && readFileSync(file, 'utf8').endsWith(last))) {
  const { default: generate, astToString } = await import('openapi-typescript');
  const document = JSON.parse(readFileSync(contract, 'utf8')) as OpenAPI3;
  for (const [file, api] of [
    [CONSOLE, document],
    [CLIENT, partnerApi(document)],
  ] as const) {
    // What has a default may be left out of a request.
    writeFileSync(file, astToString(await generate(api, { defaultNonNullable: false })) + last);
  }
}
