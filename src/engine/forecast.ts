/** When something will probably be free again, for Retry-After. Pure. */

/** What is said before any answer was measured. */
const UNKNOWN_S = 5;
const LONGEST_S = 120;

/** One running request. */
export interface Writing {
  /** Tokens of its answer so far. */
  written: number;
  /** Most tokens that its answer may have. */
  bound: number;
}

/** What the last answers were like, as far as there were any. */
export interface Pace {
  /** Tokens per second of one answer. */
  tokensPerS: number | undefined;
  /** Tokens of an answer. */
  answerTokens: number | undefined;
}

/** Whole seconds until the first of these requests has probably ended. */
export function untilRowFree(running: readonly Writing[], pace: Pace): number {
  return inSeconds(Math.min(...running.map((request) => tokensLeft(request, pace))), pace);
}

/** Whole seconds until all of these have probably ended, and as many more answers in `rows` at once. */
export function untilIdle(running: readonly Writing[], waiting: number, rows: number, pace: Pace): number {
  const answer = pace.answerTokens ?? 0;
  return inSeconds(
    Math.max(0, ...running.map((request) => tokensLeft(request, pace))) + (waiting / rows) * answer,
    pace,
  );
}

/** An answer that is already longer than usual will go on for as long as a usual one: nothing better is known. */
function tokensLeft({ written, bound }: Writing, { answerTokens = bound }: Pace): number {
  const usual = written < answerTokens ? answerTokens - written : answerTokens;
  return Math.min(usual, bound - written);
}

function inSeconds(tokens: number, { tokensPerS }: Pace): number {
  if (tokensPerS === undefined || !Number.isFinite(tokens)) return UNKNOWN_S;
  return Math.min(LONGEST_S, Math.max(1, Math.ceil(tokens / tokensPerS)));
}
