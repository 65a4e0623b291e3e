import { randomInt } from 'node:crypto';

/** A short measurement of one model: small numbers of requests, sized by what the first ones showed. */

/** One answered request. */
export interface Answered {
  /** From sending to the first text. */
  ttftMs: number;
  /** From the first text to the end. */
  writingMs: number;
  promptTokens: number;
  completionTokens: number;
}

/** Whoever answers: the running daemon, or an engine started for this. */
export type Ask = (prompt: string, maxTokens: number) => Promise<Answered>;

export interface ModelFigures {
  /** Of a short question with nothing else running, the median of a few. */
  ttft_ms: number;
  /** Prompt of the measurement of reading. */
  prompt_tokens: number;
  /** Tokens per second from sending a long prompt to the first text. */
  prefill_tps: number;
  decode: DecodeFigure[];
}

export interface DecodeFigure {
  streams: number;
  /** All streams together, tokens per second; `null` when the answers were too short to tell. */
  tokens_per_second: number | null;
}

/** No step is meant to take longer, on a machine as fast as the first requests say. */
const STEP_SECONDS = 4;
const WARM_UP_TOKENS = 16;
const SHORT_QUESTIONS = 3;
const PROMPT_WORDS = { first: 48, most: 400 };
const ANSWER_TOKENS = { least: 8, most: 96 };
const STORY = 'Tell a long story in which many things happen, about';

export async function measureModel(
  ask: Ask,
  { slots, contextTokens }: { slots: number; contextTokens: number },
  progress: (share: number, text: string) => void,
): Promise<ModelFigures> {
  const streams = streamsFor(slots);
  const steps = 3 + streams.length;
  let done = 0;
  const step = (text: string) => progress(done++ / steps, text);

  step('first answer');
  const warm = await ask(`${STORY} ${randomWord()}.`, WARM_UP_TOKENS);
  step('first token');
  const short: Answered[] = [];
  for (let index = 0; index < SHORT_QUESTIONS; index++) short.push(await ask(`${STORY} ${randomWord()}.`, 2));

  step('reading a long prompt');
  const first = await ask(randomWords(PROMPT_WORDS.first), 1);
  const wordsInTime = (PROMPT_WORDS.first / first.ttftMs) * 1_000 * STEP_SECONDS;
  const wordsThatFit = ((contextTokens / 2) * PROMPT_WORDS.first) / first.promptTokens;
  const long = await ask(randomWords(Math.min(PROMPT_WORDS.most, wordsInTime, wordsThatFit)), 1);

  const decode: DecodeFigure[] = [];
  const alone = rateOf(warm) ?? ANSWER_TOKENS.most;
  const tokens = Math.max(ANSWER_TOKENS.least, Math.min(ANSWER_TOKENS.most, Math.round(alone * STEP_SECONDS)));
  for (const count of streams) {
    step(`${count} ${count === 1 ? 'stream' : 'streams'}`);
    const answers = await Promise.all(
      Array.from({ length: count }, () => ask(`${STORY} ${randomWord()}.`, Math.min(tokens, contextTokens / 2))),
    );
    decode.push({ streams: count, tokens_per_second: rateOfAll(answers) });
  }
  progress(1, 'done');
  return {
    ttft_ms: Math.round(medianOf(short.map(({ ttftMs }) => ttftMs))),
    prompt_tokens: long.promptTokens,
    prefill_tps: Math.round((long.promptTokens / long.ttftMs) * 1_000),
    decode,
  };
}

/** 1, 2, 4 and all, as far as there are so many slots. */
export function streamsFor(slots: number): number[] {
  return [...new Set([1, 2, 4, slots])].filter((count) => count <= slots).sort((a, b) => a - b);
}

/** Tokens per second while it wrote; the first token belongs to the reading. */
function rateOf({ completionTokens, writingMs }: Answered): number | undefined {
  return completionTokens < 2 || writingMs <= 0 ? undefined : ((completionTokens - 1) / writingMs) * 1_000;
}

/** Streams that run side by side add up. */
export function rateOfAll(answers: readonly Answered[]): number | null {
  const rates = answers.map(rateOf);
  if (rates.some((rate) => rate === undefined)) return null;
  return Math.round(rates.reduce<number>((sum, rate) => sum + (rate ?? 0), 0) * 10) / 10;
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** New words each time: a beginning that the engine remembers would be read in no time. */
function randomWords(count: number): string {
  return Array.from({ length: Math.max(1, Math.floor(count)) }, randomWord).join(' ');
}

const SYLLABLES = ['ba', 'de', 'fi', 'go', 'hu', 'la', 'me', 'ni', 'po', 'ru', 'sa', 'te', 'vi', 'wo'];

function randomWord(): string {
  const syllable = () => SYLLABLES[randomInt(SYLLABLES.length)] ?? 'ba';
  return syllable() + syllable();
}
