import type { Command } from 'commander';
import { writeFile } from 'node:fs/promises';
import { createLogger } from '../platform/common/logging.ts';
import { createApp } from '../server/create-app.ts';
import { buildOpenApi } from '../server/openapi-document.ts';
import type { CliContext } from './cli-context.ts';
import { OFFLINE_CONFIG } from './offline-config.ts';

export function completeOpenApi(openapi: Command, cli: CliContext): void {
  openapi.argument('[file]', 'the file to write', 'openapi.json').action(async (file: string) => {
    const application = await cli.application();
    const { nest } = await createApp(OFFLINE_CONFIG, createLogger('silent'), { preview: true, application });
    await writeFile(file, `${JSON.stringify(buildOpenApi(nest), null, 2)}\n`);
  });
}
