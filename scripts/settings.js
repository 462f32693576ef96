// `npm run settings`: writes .env.example and the table of settings in docs from src/platform/config/settings.ts.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { envExample, withSettings } from '../src/platform/config/settings-documents.ts';

writeFileSync('.env.example', envExample());
for (const name of readdirSync('docs').filter((file) => file.endsWith('.md'))) {
  const file = `docs/${name}`;
  const page = withSettings(readFileSync(file, 'utf8'));
  if (page !== undefined) writeFileSync(file, page);
}
