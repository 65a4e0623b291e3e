import { parseArgs } from 'node:util';
import { DarkbloomError } from '../src/errors.js';

/** The command line of `npm run bench`. */

export const LEVELS = ['raw', 'runner', 'http', 'whole'] as const;
export type Level = (typeof LEVELS)[number];

export interface Peer {
  name: string;
  /** Ends with `/v1`. */
  url: string;
  model: string;
  apiKey: string;
}

export interface Options {
  suite: string;
  json: boolean;
  repeats: number;
  /** Empty: all. */
  loads: string[];
  levels: Level[];
  streams: number[];
  rows: number;
  threads: number;
  seed: number;
  contextTokens: number;
  /** Absent: the generated one. */
  model: string | undefined;
  peers: Peer[];
  llamaServer: string | undefined;
}

export const USAGE = `usage: npm run bench -- [SUITE] [options]

suites
  compare                 the same loads on every contender, interleaved (default); exit code 1 when a request failed
  floors                  compare, then judge every figure that has a floor; exit code 1 also when one is not met
  coordinator             what the coordinator adds with a null engine, beside a bare handler; of the options, --repeats
                          and --json; exit code 1 also when a floor is not met
  growth                  how cost grows with rows, prompt length, loaded models and waiting clients

options
  --repeats N             repeats of each load (3)
  --load NAME             only this load; may be given again: latency, steady, steady-8, ragged, prefix, long-prompt, abort
  --level NAME            only this level of ours; may be given again: ${LEVELS.join(', ')}
  --streams 1,2,4,8       how many streams the steady load has
  --rows N                rows of every side (8)
  --context N             tokens of each row (2048)
  --threads N             threads of every side (2)
  --seed N                of prompts, lengths and arrivals (1)
  --model PATH            another GGUF file; it must not end its answers early, or counts differ
  --llama-server PATH     starts llama.cpp's server twice, plain and with -kvu; tools/build-llama-server.sh makes one
  --peer NAME=URL         any OpenAI-compatible server, URL up to /v1; NAME=URL#MODEL names its model
  --json                  one JSON object on stdout
`;

/** @throws DarkbloomError `usage`. */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parsed(args);
  const { 'llama-server': llamaServer, model } = values;
  const [suite = 'compare', ...rest] = positionals;
  if (rest.length > 0) throw new DarkbloomError('usage', `There is one suite at a time, not also '${rest.join(' ')}'.`);
  return {
    suite,
    json: values.json,
    repeats: wholeNumber('repeats', values.repeats, 100),
    loads: values.load,
    levels: values.level.length === 0 ? [...LEVELS] : values.level.map(levelNamed),
    streams: values.streams.split(',').map((text) => wholeNumber('streams', text, 64)),
    rows: wholeNumber('rows', values.rows, 24),
    contextTokens: wholeNumber('context', values.context, 131_072),
    threads: wholeNumber('threads', values.threads, 256),
    seed: wholeNumber('seed', values.seed, 2 ** 31),
    model,
    llamaServer,
    peers: values.peer.map(peerNamed),
  };
}

function parsed(args: readonly string[]) {
  const one = (fallback: string) => ({ type: 'string', default: fallback }) as const;
  const several = { type: 'string', multiple: true, default: [] as string[] } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        repeats: one('3'),
        load: several,
        level: several,
        streams: one('1,2,4,8'),
        rows: one('8'),
        context: one('2048'),
        threads: one('2'),
        seed: one('1'),
        model: { type: 'string' },
        'llama-server': { type: 'string' },
        peer: several,
      },
    });
  } catch (error) {
    throw new DarkbloomError('usage', error instanceof Error ? error.message : 'The options cannot be read.');
  }
}

function wholeNumber(name: string, text: string, most: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= most) return number;
  throw new DarkbloomError('usage', `--${name} takes whole numbers from 1 to ${most}, not '${text}'.`);
}

function levelNamed(name: string): Level {
  const level = LEVELS.find((known) => known === name);
  if (level !== undefined) return level;
  throw new DarkbloomError('usage', `There is no level '${name}'. There are: ${LEVELS.join(', ')}.`);
}

function peerNamed(text: string): Peer {
  const [, name, url, model = 'default'] = /^([\w.-]+)=(https?:\/\/[^#]+?)\/?(?:#(.+))?$/u.exec(text) ?? [];
  if (name !== undefined && url !== undefined) return { name, url, model, apiKey: 'none' };
  throw new DarkbloomError('usage', `--peer takes NAME=URL or NAME=URL#MODEL, not '${text}'.`);
}
