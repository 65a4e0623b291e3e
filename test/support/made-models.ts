import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TEMPLATES, type Family } from './templates.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

const FOLDER = join(tmpdir(), 'darkbloom-made-models');

/** A model that answers every prompt with exactly this text (all words different), or with it for ever. */
export function madeModel(name: string, options: readonly string[]): string {
  const path = join(FOLDER, `${name}.gguf`);
  if (existsSync(path)) return path;
  mkdirSync(FOLDER, { recursive: true });
  const aside = `${path}.${process.pid}`;
  execFileSync(process.execPath, [join(PACKAGE_ROOT, 'tools/make-gguf.mjs'), aside, ...options]);
  renameSync(aside, path);
  return path;
}

export const loopModel = (): string =>
  madeModel('loop', ['--loop', '--say', 'One two three four five six seven eight nine ten.']);

export const sayModel = (): string => madeModel('say', ['--say', 'Hello there, this is a deterministic test reply.']);

/** A model of this family that answers every prompt with exactly this text, its control tokens among it. */
export function familyModel(name: string, family: Family, answer: readonly string[]): string {
  const { template, control, userDefined } = TEMPLATES[family];
  const known = new Set(['<|endoftext|>', '<|im_start|>', '<|im_end|>']);
  return madeModel(`family-${name}`, [
    ...(template === undefined ? [] : ['--template', template]),
    ...control.filter((token) => !known.has(token)).flatMap((token) => ['--control', token]),
    ...userDefined.filter((token) => token.trim() !== '').flatMap((token) => ['--user-defined', token]),
    ...answer,
  ]);
}

const TOOL_TEMPLATE =
  "{% if tools %}{{ '<|im_start|>system\\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools><|im_end|>\\n' }}{% endif %}" +
  "{% for message in messages %}{% if message.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>' + message.content + '</tool_response>' }}" +
  "{% else %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}" +
  "{% for call in message.tool_calls or [] %}{{ '<tool_call>' }}{{ call.function | tojson }}{{ '</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}" +
  "{% endif %}{% endfor %}{% if messages[-1].role != 'tool' %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Calls a tool; behind the result of one, which its template does not close, it answers: the token that it says after
 *  the call is the one that stands there. */
export const toolModel = (): string =>
  madeModel('tool', [
    ...['--template', TOOL_TEMPLATE, '--control', '</tool_response>'],
    ...['--user-defined', '<tool_call>', '--user-defined', '</tool_call>', '--say'],
    'Let me see.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call></tool_response>It is sunny there.',
  ]);

/** Random weights: any output, so that sampling matters. */
export const randomModel = (): string => madeModel('random', ['--seed', '5']);

/** Random weights in full precision: what it writes depends on every token before, and not on how they were batched. */
export const exactModel = (): string => madeModel('exact', ['--type', 'f32', '--seed', '5']);

/** Random weights that make vectors of 128 values, by the mean over a text of at most 512 tokens. */
export const vectorModel = (): string => madeModel('vectors', ['--type', 'f32', '--pooling', 'mean', '--ctx', '512']);

/** An encoder: vectors of 64 values, of at most 128 tokens with one before and one after the text. */
export const bertModel = (): string => madeModel('bert', ['--preset', 'bert']);

/** Random weights, quantized: on a CPU a row's numbers are the same whatever other rows are computed beside it. */
export const quantizedModel = (): string =>
  madeModel('quantized', ['--type', 'q8_0', '--seed', '5', '--embd', '256', '--ff', '768', '--heads', '4']);

/** As `exactModel`, and a row cannot be cut anywhere: one of its layers looks back over 64 tokens only. */
export const windowModel = (): string => madeModel('window', ['--preset', 'window', '--type', 'f32', '--seed', '5']);

/** As `exactModel`, and a row cannot be cut anywhere: one of its layers is a convolution. */
export const hybridModel = (): string => madeModel('hybrid', ['--preset', 'hybrid', '--type', 'f32', '--seed', '5']);
