import { existsSync, renameSync } from 'node:fs';
import { DarkbloomError, systemErrorCode } from '../errors.js';
import type { Usage } from '../inference/types.js';
import type { Log } from '../log.js';
import type { Clock } from '../util/clock.js';
import { readFileIfPresent, removeAsides, writePrivateFile } from '../util/files.js';
import { tryJson } from '../util/json.js';
import { localDay } from '../util/local-day.js';
import { NOTHING, UsageFile, withRow, type UsageRow } from './usage-rows.js';

/** The file is written at most this often: what a SIGKILL or a power loss takes from the journal at most. */
export const WRITE_EVERY_MS = 10_000;

interface JournalOptions {
  path: string;
  /** Where a file goes that cannot be understood. */
  setAsidePath: string;
  clock: Clock;
  log: Log;
}

/** One request that a model had taken up and that has ended. */
export interface EndedRequest {
  model: string;
  for: UsageRow['for'];
  end: 'completed' | 'cancelled' | 'failed';
  /** Absent: not known. */
  usage?: Usage;
}

/** The provider's own count of what it answered, by day and model. It never keeps a request from being served: what
 *  cannot be written is kept in memory and tried again. */
export class UsageJournal {
  readonly #options: JournalOptions;
  #rows: readonly UsageRow[];
  #served = { requests: 0, tokens: 0 };
  #timer: Disposable | undefined;
  /** The last try to write failed, and the log says so. */
  #failing = false;

  private constructor(options: JournalOptions, rows: readonly UsageRow[]) {
    this.#options = options;
    this.#rows = rows;
  }

  /** Goes on with the file of earlier runs; one that is damaged is set aside.
   *  @throws DarkbloomError `config_invalid` for a damaged file that cannot be set aside. */
  static open(options: JournalOptions): UsageJournal {
    removeAsides(options.path);
    return new UsageJournal(options, readOrSetAside(options));
  }

  /** Oldest day first. */
  get rows(): readonly UsageRow[] {
    return this.#rows;
  }

  /** Answers since the process began. */
  get served(): { requests: number; tokens: number } {
    return this.#served;
  }

  count({ model, for: who, end, usage = { promptTokens: 0, completionTokens: 0 } }: EndedRequest): void {
    const { promptTokens, completionTokens } = usage;
    if (end === 'completed' || completionTokens > 0) {
      const { requests, tokens } = this.#served;
      this.#served = { requests: requests + 1, tokens: tokens + completionTokens };
    }
    const { clock } = this.#options;
    this.#rows = withRow(this.#rows, {
      day: localDay(clock.now()),
      model,
      for: who,
      ...NOTHING,
      [end]: 1,
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
    });
    this.#timer ??= clock.after(WRITE_EVERY_MS, () => this.flush());
  }

  /** Writes what is not written yet. Never throws. */
  flush(): void {
    if (this.#timer === undefined) return;
    this.#timer[Symbol.dispose]();
    this.#timer = undefined;
    const { path, clock, log } = this.#options;
    const file: UsageFile = { schema_version: 1, rows: [...this.#rows] };
    try {
      writePrivateFile(path, `${JSON.stringify(file)}\n`);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) log.warn({ path, code: systemErrorCode(error) }, 'the usage journal could not be written');
      this.#failing = true;
      this.#timer = clock.after(WRITE_EVERY_MS, () => this.flush());
    }
  }

  close(): void {
    this.flush();
    this.#timer?.[Symbol.dispose]();
  }
}

/** The rows in a journal's file; none when there is no file.
 *  @throws DarkbloomError `config_invalid` for a file that cannot be read, is damaged or of a newer version. */
export function readUsage(path: string): UsageRow[] {
  let text: string | undefined;
  try {
    text = readFileIfPresent(path);
  } catch (cause) {
    throw new DarkbloomError('config_invalid', `${path} cannot be read. Check that it is a file you may read.`, {
      cause,
    });
  }
  if (text === undefined) return [];
  const file = UsageFile.safeParse(tryJson(text));
  if (file.success) return file.data.rows;
  throw new DarkbloomError(
    'config_invalid',
    `${path} is damaged or was written by a newer version. The next start sets it aside and begins a new journal.`,
  );
}

function readOrSetAside({ path, setAsidePath, log }: JournalOptions): UsageRow[] {
  try {
    return readUsage(path);
  } catch {
    const replaced = existsSync(setAsidePath);
    try {
      renameSync(path, setAsidePath);
    } catch (cause) {
      throw new DarkbloomError(
        'config_invalid',
        `${path} is damaged, and cannot be renamed to ${setAsidePath}. Move both away.`,
        { cause },
      );
    }
    log.warn({ path, setAsidePath, replaced }, 'the usage journal was damaged: it was set aside, a new one begins');
    return [];
  }
}
