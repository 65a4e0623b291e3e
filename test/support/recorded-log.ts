import { pino } from 'pino';
import type { Log } from '../../src/log.js';

/** A log that keeps everything, down to debug. */
export class RecordedLog {
  #text = '';
  readonly log: Log = pino({ level: 'debug' }, { write: (line) => (this.#text += line) });

  get text(): string {
    return this.#text;
  }
}
