import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import { ProviderMessage } from '../../src/protocol/provider-messages.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

/** The tool is plain JavaScript and works on dist/, which `npm test` builds first. */
const Tool = z.object({ protocolDocs: z.custom<() => string>((value) => typeof value === 'function') });
const { protocolDocs } = Tool.parse(await import(pathToFileURL(join(PACKAGE_ROOT, 'tools/protocol-docs.mjs')).href));

describe('docs/protocol.md', () => {
  test('is what the schemas say now; `npm run docs` writes it', () => {
    expect(readFileSync(join(PACKAGE_ROOT, 'docs/protocol.md'), 'utf8')).toBe(protocolDocs());
  });

  test('has a chapter for every frame of both directions', () => {
    const chapters = [...protocolDocs().matchAll(/^### `(\w+)`$/gmu)].map((match) => match[1]);
    const types = [...ProviderMessage.options, ...CoordinatorMessage.options].map(({ shape }) => shape.type.value);
    expect(chapters).toEqual(types);
  });
});
