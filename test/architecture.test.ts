import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../src/util/version.js';
import { brokenRules, type SourceText } from './support/house-rules.js';

const SOURCE = join(PACKAGE_ROOT, 'src');

function sourceFiles(): SourceText[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.replaceAll('\\', '/'), text: readFileSync(join(SOURCE, path), 'utf8') }));
}

test('the source keeps the rules of the house', () => {
  const files = sourceFiles();
  expect(files.length).toBeGreaterThan(50);
  expect(brokenRules(files)).toEqual([]);
});

test.each([
  ['link/jobs.ts', "import { x } from '../coordinator/ledger.js';", 'imports its neighbour coordinator'],
  ['engine/pool.ts', "import type { X } from '../models/store.js';", 'imports its neighbour models'],
  ['protocol/codec.ts', "export * from '../crypto/box.js';", 'imports its neighbour crypto'],
  ['engine/pool.ts', "const link = await import('../link/link.js');", 'imports upwards from link'],
  ['util/clock.ts', "let x: import('../inference/types.js').Role;", 'imports upwards from inference'],
  ['http/app.ts', "import '../cli/main.js';", 'imports upwards from cli'],
  ['demo.ts', "import { startDaemon } from './daemon.js';", 'imports its neighbour daemon.ts'],
  ['engine/pool.ts', "import '../runner/main.js';", 'imports the runner, which is a process of its own'],
  ['daemon.ts', "import '../test/support/peer.js';", 'imports ../test/support/peer.js, which is outside src'],
  ['link/link.ts', "import { x } from '../helpers/x.js';", 'imports helpers, which is no room'],
  ['link/link.ts', 'await import(name);', 'imports what only the running program knows'],
  ['engine/pool.ts', "import { getLlama } from 'node-llama-cpp';", 'imports node-llama-cpp'],
  ['runner/rows.ts', "import { getLlama } from 'node-llama-cpp';", 'imports node-llama-cpp'],
  ['coordinator/ledger.ts', "import LibSql from 'libsql/promise';", 'imports libsql'],
  ['helpers/x.ts', '', 'belongs to no room'],
  ['engine/index.ts', '', 'is a barrel'],
  ['link/link.ts', 'export default class Link {}', 'has a default export'],
  ['link/link.ts', 'const x = 1; export default x;', 'has a default export'],
  ['link/link.ts', 'const x = 1; export { x as default };', 'has a default export'],
  ['link/link.ts', 'const home = process.env.HOME;', 'reads process.env'],
  ['link/link.ts', "const home = process['env']['HOME'];", 'reads process.env'],
  ['link/link.ts', "import { env } from 'node:process';", 'reads process.env'],
])('a file %s with the line %s breaks a rule', (path, text, rule) => {
  expect(brokenRules([{ path, text }])).toEqual([`${path} ${rule}`]);
});

test.each([
  ['daemon.ts', "import { Link } from './link/link.js';"],
  ['link/jobs.ts', "import { Link } from './link.js';"],
  ['link/reports.ts', "import type { X } from '../engine/model-slot.js';"],
  ['cli/commands/start.ts', "import { Daemon } from '../../daemon.js';"],
  ['database.ts', "import LibSql from 'libsql'; import { DarkbloomError } from './errors.js';"],
  ['runner/llama-model.ts', "import { getLlama } from 'node-llama-cpp';"],
  ['models/gguf.ts', "import { readGgufFileInfo } from 'node-llama-cpp';"],
  ['config.ts', 'export const environment = process.env;'],
  ['link/link.ts', '// process.env is read by config.ts\nconst said = "export default";'],
])('a file %s with the line %s is in order', (path, text) => {
  expect(brokenRules([{ path, text }])).toEqual([]);
});
