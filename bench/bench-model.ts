import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../src/util/version.js';

const FOLDER = join(tmpdir(), 'darkbloom-bench-models');

/** A generated model, made once: the same bytes on every machine. `options` are those of tools/make-gguf.mjs. */
function generatedModel(name: string, options: readonly string[]): string {
  const path = join(FOLDER, `${name}.gguf`);
  if (existsSync(path)) return path;
  mkdirSync(FOLDER, { recursive: true });
  const aside = `${path}.${process.pid}`;
  execFileSync(process.execPath, [join(PACKAGE_ROOT, 'tools/make-gguf.mjs'), aside, ...options]);
  renameSync(aside, path);
  return path;
}

/** 135M parameters in Q8_0, 49,152 tokens, random weights; its answers never end by themselves. 144 MB. */
export const benchModel = (): string => generatedModel('bench', ['--preset', 'bench', '--endless']);

/** 12 MB, the same tokens for the same prompts up to 19,600 of them: for what does not depend on the model's size. In f32,
 *  so that rounding hardly ever decides between two tokens. */
export const tinyModel = (): string => generatedModel('tiny-f32', ['--endless', '--type', 'f32', '--vocab', '19600']);

/** The same in q8_0: there an answer with a seed does not depend on what runs beside it. */
export const quantizedModel = (): string =>
  generatedModel('tiny-q8', ['--endless', '--type', 'q8_0', '--vocab', '19600']);
