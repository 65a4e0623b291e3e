import type { Plan, PlannedRequest } from './plan.js';
import { between, exponential, logNormal, seededFor, words, type Random } from './seeded.js';

/** Tokens of the chat template around one message, in the generated model. */
const TEMPLATE_TOKENS = 8;

const STEADY_PROMPT = 200;
const STEADY_OUTPUT = 128;

const RAGGED_CLIENTS = 8;
const RAGGED_REQUESTS = 4;
const RAGGED_PAUSE_MS = 150;
const RAGGED_PROMPT = { median: 150, spread: 0.8, least: 24, most: 700 };
const RAGGED_OUTPUT = { least: 12, most: 180 };

const PREFIX_TOKENS = 1_500;
const PREFIX_TAIL = 20;
const PREFIX_WARM = 4;

const LONG_PROMPT = 1_900;
const LONG_BESIDE = 4;

const STORM_OTHERS = 7;
const STORM_VICTIMS = 3;
/** After so long a prompt of 1,900 tokens is being read on any side that is measured here. */
const STORM_ABORT_MS = 250;

/** Longer than anyone stays. */
const UNTIL_LEFT = 1_500;

const SHORT_PROMPT = 16;
const SHORT_REQUESTS = 20;

const WARM_UP_ALONE = 240;
const WARM_UP_TOGETHER = 32;

/** Made anew for each repeat; the same for all who are compared in it. */
export interface Load {
  name: string;
  /** Rows that it needs free. */
  rows: number;
  plan: (seed: number) => Plan;
}

export function steady(streams: number): Load {
  return {
    name: `steady-${streams}`,
    rows: streams,
    plan: (seed) => {
      const random = seededFor(`steady-${streams}`, seed);
      return [Array.from({ length: streams }, () => [ask(random, 'stream', STEADY_PROMPT, STEADY_OUTPUT)])];
    },
  };
}

/** Eight people who ask, read a while, and ask again; no two prompts or answers are of one length. */
const ragged: Load = {
  name: 'ragged',
  rows: RAGGED_CLIENTS,
  plan: (seed) => {
    const random = seededFor('ragged', seed);
    const request = () => ({
      ...ask(random, 'client', raggedPrompt(random), between(random, RAGGED_OUTPUT.least, RAGGED_OUTPUT.most)),
      waitMs: exponential(random, RAGGED_PAUSE_MS),
    });
    return [Array.from({ length: RAGGED_CLIENTS }, () => Array.from({ length: RAGGED_REQUESTS }, request))];
  },
};

function raggedPrompt(random: Random): number {
  const { median, spread, least, most } = RAGGED_PROMPT;
  return Math.round(Math.min(most, Math.max(least, logNormal(random, median, spread))));
}

/** One long beginning, asked once with it new and then with it known. */
const prefix: Load = {
  name: 'prefix',
  rows: 1,
  plan: (seed) => {
    const random = seededFor('prefix', seed);
    const beginning = words(random, PREFIX_TOKENS - TEMPLATE_TOKENS);
    const request = (role: string): PlannedRequest => ({
      role,
      prompt: `${beginning} ${words(random, PREFIX_TAIL)}`,
      maxTokens: 1,
    });
    return [[[request('cold')]], [[...Array.from({ length: PREFIX_WARM }, () => request('warm'))]]];
  },
};

/** A long prompt comes while four others are being answered. */
const longPrompt: Load = {
  name: 'long-prompt',
  rows: LONG_BESIDE + 1,
  plan: (seed) => {
    const random = seededFor('long-prompt', seed);
    const beside = Array.from({ length: LONG_BESIDE }, () => [
      { ...ask(random, 'beside', 64, UNTIL_LEFT), abort: { afterRoles: ['long'] } },
    ]);
    const long = { ...ask(random, 'long', LONG_PROMPT, 4), afterTexts: { roles: ['beside'], count: 16 } };
    return [[...beside, [long]]];
  },
};

/** Seven rows are busy; on the eighth one client after the other leaves in the middle, and the next is there at once.
 *  Its time to first token says when the row was free. */
const abortStorm: Load = {
  name: 'abort',
  rows: STORM_OTHERS + 1,
  plan: (seed) => {
    const random = seededFor('abort', seed);
    const others = (role: string) =>
      Array.from({ length: STORM_OTHERS }, () => [
        { ...ask(random, 'other', 32, UNTIL_LEFT), abort: { afterRoles: [role] } },
      ]);
    const probe = (role: string) => ask(random, role, SHORT_PROMPT, 2);
    const running = { roles: ['other'], count: 8 };
    const reading = () => ({ ...ask(random, 'victim', LONG_PROMPT, 64), abort: { afterMs: STORM_ABORT_MS } });
    const writing = () => ({ ...ask(random, 'victim', 32, UNTIL_LEFT), abort: { afterTexts: 8 } });
    const victims = (role: string, victim: () => PlannedRequest) => [
      { ...probe('free row'), afterTexts: running },
      ...Array.from({ length: STORM_VICTIMS }, () => [victim(), probe(role)]).flat(),
    ];
    return [
      [...others('after reading'), victims('after reading', reading)],
      [...others('after writing'), victims('after writing', writing)],
    ];
  },
};

/** Short questions one by one: what the way itself costs. */
const latency: Load = {
  name: 'latency',
  rows: 1,
  plan: (seed) => {
    const random = seededFor('latency', seed);
    return [[Array.from({ length: SHORT_REQUESTS }, () => ask(random, 'short', SHORT_PROMPT, 2))]];
  },
};

/** What everyone answers before anything is measured, several times: one stream, then all rows. */
export function warmUpPlan(rows: number, seed: number): Plan {
  const random = seededFor('warm-up', seed);
  return [
    [[ask(random, 'warm-up', SHORT_PROMPT, WARM_UP_ALONE)]],
    Array.from({ length: rows }, () => [ask(random, 'warm-up', SHORT_PROMPT, WARM_UP_TOGETHER)]),
  ];
}

/** The loads by name, for these numbers of steady streams. */
export function loadsFor(streams: readonly number[]): Load[] {
  return [latency, ...streams.map(steady), ragged, prefix, longPrompt, abortStorm];
}

/** A request whose whole prompt, with the template, has so many tokens. */
export function ask(random: Random, role: string, promptTokens: number, maxTokens: number): PlannedRequest {
  return {
    role,
    prompt: words(random, Math.max(1, promptTokens - TEMPLATE_TOKENS)),
    maxTokens,
  };
}
