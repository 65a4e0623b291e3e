import type { DarkbloomError } from '../errors.js';
import type { Clock } from '../util/clock.js';

/** A model that could not be loaded on a machine rests there for so long. */
const LOAD_REST_MS = 120_000;
/** So many failed answers of one model on one machine within the window, and it rests there. */
const ANSWER_FAULTS = 2;
const ANSWER_WINDOW_MS = 60_000;
const ANSWER_REST_MS = 300_000;
/** So many faults in a row, or this share of the last ones within the window, and the machine rests; twice as long each
 *  time, until it answers well. */
const MACHINE_FAULTS_IN_A_ROW = 5;
const MACHINE_FAULT_SHARE = 0.8;
const MACHINE_MIN_ATTEMPTS = 20;
const MACHINE_WINDOW_MS = 120_000;
const MACHINE_REST_MS = 60_000;
const MACHINE_LONGEST_REST_MS = 300_000;
/** Machines, and models on machines, that something is remembered of; the oldest is forgotten. */
const MAX_REMEMBERED = 1_000;
const MAX_OUTCOMES = 200;

/** Requests with and without tools go different ways through a template: each has its own count. */
export type Shape = 'plain' | 'tools';

/** What failed: the load of a model, the answer to one shape of request, or the machine as such. */
export type Fault = 'load' | 'answer' | 'machine';

/** What the machine is to blame for; `undefined`: nothing. Being full is no fault, nor is a bad request. */
export function faultIn(error: DarkbloomError): Fault | undefined {
  switch (error.code) {
    case 'model_unavailable':
      return 'load';
    case 'timeout':
      return 'answer';
    case 'provider_error':
      if ([500, 502, 504].includes(error.status)) return 'answer';
      return error.status === 503 && !CAPACITY.test(error.message) ? 'machine' : undefined;
    default:
      return undefined;
  }
}

/** How machines say that they are full, which is no fault (docs/routing.md, after failures). */
const CAPACITY =
  /token.budget|kv headroom|insufficient (kv|memory)|out of memory|draining|request rejected|queue full|server busy|waiting for capacity|not loaded|no model loaded/iu;

interface Pair {
  faults: number[];
  restsUntil: number;
}

interface Record {
  inARow: number;
  outcomes: { at: number; good: boolean }[];
  restMs: number;
  restsUntil: number;
}

/** Which machine, or model on a machine, should be left alone after failures, and until when. */
export class Breakers {
  readonly #clock: Clock;
  readonly #loads = new Map<string, number>();
  readonly #pairs = new Map<string, Pair>();
  readonly #machines = new Map<string, Record>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  failed(machine: string, build: string, shape: Shape, fault: Fault): void {
    const now = this.#clock.now();
    if (fault === 'load') {
      put(this.#loads, pairOf(machine, build), now + LOAD_REST_MS);
      return; // told already, and the machine may be well otherwise
    }
    if (fault === 'answer') this.#countAnswer(pairOf(machine, build, shape), now);
    this.#count(machine, false, now);
  }

  /** Its connection broke while it was at work; once for all requests that it cost. */
  lost(machine: string): void {
    this.#count(machine, false, this.#clock.now());
  }

  succeeded(machine: string, build: string, shape: Shape): void {
    this.#loads.delete(pairOf(machine, build));
    this.#pairs.delete(pairOf(machine, build, shape));
    this.#count(machine, true, this.#clock.now());
  }

  /** When this model may be asked for on this machine again, ms since the epoch; `undefined`: now. */
  restsUntil(machine: string, build: string, shape: Shape): number | undefined {
    const until = Math.max(
      this.#loads.get(pairOf(machine, build)) ?? 0,
      this.#pairs.get(pairOf(machine, build, shape))?.restsUntil ?? 0,
      this.#machines.get(machine)?.restsUntil ?? 0,
    );
    return until > this.#clock.now() ? until : undefined;
  }

  #countAnswer(key: string, now: number): void {
    const faults = (this.#pairs.get(key)?.faults ?? []).filter((at) => now - at < ANSWER_WINDOW_MS);
    faults.push(now);
    const tripped = faults.length >= ANSWER_FAULTS;
    put(this.#pairs, key, { faults: tripped ? [] : faults, restsUntil: tripped ? now + ANSWER_REST_MS : 0 });
  }

  #count(machine: string, good: boolean, now: number): void {
    const before = this.#machines.get(machine) ?? { inARow: 0, outcomes: [], restMs: MACHINE_REST_MS, restsUntil: 0 };
    const outcomes = before.outcomes.filter(({ at }) => now - at < MACHINE_WINDOW_MS).slice(1 - MAX_OUTCOMES);
    outcomes.push({ at: now, good });
    if (good) {
      put(this.#machines, machine, { inARow: 0, outcomes, restMs: MACHINE_REST_MS, restsUntil: 0 });
      return;
    }
    const inARow = before.inARow + 1;
    const bad = outcomes.filter((outcome) => !outcome.good).length;
    const mostly = outcomes.length >= MACHINE_MIN_ATTEMPTS && bad / outcomes.length > MACHINE_FAULT_SHARE;
    const trips = before.restsUntil <= now && (inARow >= MACHINE_FAULTS_IN_A_ROW || mostly);
    put(this.#machines, machine, {
      inARow,
      outcomes,
      restMs: trips ? Math.min(MACHINE_LONGEST_REST_MS, before.restMs * 2) : before.restMs,
      restsUntil: trips ? now + before.restMs : before.restsUntil,
    });
  }
}

function pairOf(...parts: string[]): string {
  return parts.join(' ');
}

/** As the newest of a bounded table. */
function put<T>(table: Map<string, T>, key: string, value: T): void {
  table.delete(key);
  table.set(key, value);
  const [oldest] = table.keys();
  if (table.size > MAX_REMEMBERED && oldest !== undefined) table.delete(oldest);
}
