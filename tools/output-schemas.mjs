/**
 * Writes docs/schemas from the schemas of dist/cli/outputs.js: `npm run docs`. A file there that belongs to no output
 * is removed.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { FAILURE, OUTPUTS } from '../dist/cli/outputs.js';

const FOLDER = fileURLToPath(new URL('../docs/schemas', import.meta.url));

/** The text of each file of docs/schemas, by its name. */
export function outputSchemas() {
  const files = Object.entries(OUTPUTS).map(([command, output]) => [
    fileName(command),
    text(`darkbloom-provider ${command} --json`, output),
  ]);
  return Object.fromEntries([...files, ['error.json', text('A command with --json that failed', FAILURE)]]);
}

function fileName(command) {
  return `${command.replaceAll(/[^a-z]+/gu, '-')}.json`;
}

function text(title, { schema, meaning }) {
  const { $schema, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12' });
  return `${JSON.stringify({ $schema, title, description: meaning, ...rest }, null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  for (const [name, schema] of Object.entries(outputSchemas())) writeFileSync(join(FOLDER, name), schema);
}
