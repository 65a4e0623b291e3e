import { z } from 'zod';
import type { Database } from '../database.js';
import type { Clock } from '../util/clock.js';
import { wholeNumber } from './columns.js';

const MINUTE_MS = 60_000;
/** The series reaches so far back. */
const SERIES_MINUTES = 30;

interface Count {
  requests: number;
  promptTokens: number;
  completionTokens: number;
}

export interface PublicStats {
  total: Count;
  /** By the name that was asked for. */
  models: ReadonlyMap<string, Count>;
  /** By minute, ms since the epoch, oldest first; minutes without a request are left out. */
  series: ReadonlyMap<number, Count>;
}

const columns = { requests: wholeNumber, prompt_tokens: wholeNumber, completion_tokens: wholeNumber };
const ModelRow = z.object({ alias: z.string(), until_row: z.bigint(), ...columns });
const MinuteRow = z.object({ minute: wholeNumber, ...columns });
const SUMS = `count(*) AS requests, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens`;

/** Counts what was served for others: the free requests of owners on their own machines are theirs alone. Each look sums
 *  only the rows that came since the last one. */
export class StatsReader {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #models = new Map<string, Count>();
  readonly #minutes = new Map<number, Count>();
  #untilRow = 0n;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  read(): PublicStats {
    const since = this.#untilRow;
    const earliest = (Math.floor(this.#clock.now() / MINUTE_MS) - SERIES_MINUTES + 1) * MINUTE_MS;
    const where = 'WHERE rowid > ? AND free_self_route = 0';
    const byModel = `SELECT alias, max(rowid) AS until_row, ${SUMS} FROM usage ${where} GROUP BY alias`;
    for (const row of this.#database.all(byModel, since).map((each) => ModelRow.parse(each))) {
      add(this.#models, row.alias, row);
      if (row.until_row > this.#untilRow) this.#untilRow = row.until_row;
    }
    const byMinute = `SELECT created_at / ${MINUTE_MS} * ${MINUTE_MS} AS minute, ${SUMS} FROM usage ${where}
      AND created_at >= ? GROUP BY minute ORDER BY minute`;
    for (const row of this.#database.all(byMinute, since, earliest).map((each) => MinuteRow.parse(each))) {
      add(this.#minutes, row.minute, row);
    }
    for (const minute of this.#minutes.keys()) if (minute < earliest) this.#minutes.delete(minute);
    return { total: sumOf(this.#models.values()), models: this.#models, series: this.#minutes };
  }
}

function add<Key>(counts: Map<Key, Count>, key: Key, row: z.infer<z.ZodObject<typeof columns>>): void {
  const before = counts.get(key);
  counts.set(key, {
    requests: (before?.requests ?? 0) + row.requests,
    promptTokens: (before?.promptTokens ?? 0) + row.prompt_tokens,
    completionTokens: (before?.completionTokens ?? 0) + row.completion_tokens,
  });
}

function sumOf(counts: Iterable<Count>): Count {
  const sum = { requests: 0, promptTokens: 0, completionTokens: 0 };
  for (const count of counts) {
    sum.requests += count.requests;
    sum.promptTokens += count.promptTokens;
    sum.completionTokens += count.completionTokens;
  }
  return sum;
}
