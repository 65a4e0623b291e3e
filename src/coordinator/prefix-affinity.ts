import { createHmac, randomBytes } from 'node:crypto';
import type { JsonObject } from '../inference/types.js';

/** The shortest beginning that is remembered, characters; each next one is twice as long. */
const SHORTEST_BEGINNING = 256;
const LONGEST_BEGINNING = 256 * 1024;
/** Beginnings remembered over all machines; the one not seen for longest is forgotten. */
const MAX_REMEMBERED = 20_000;
const CHARACTERS_PER_TOKEN = 4;

/** The first characters of a prompt, as nothing but a keyed hash. */
export interface Beginning {
  hash: string;
  characters: number;
}

/**
 * Which machine has read which beginning of a prompt, so that the next prompt with the same one goes where it is
 * cached. Of a prompt only hashes are kept, in memory, under a key of this process and for one account: nobody can
 * learn from them what was asked, nor whether two accounts asked the same.
 */
export class PrefixAffinity {
  readonly #key = randomBytes(32);
  /** The one seen longest ago first. */
  readonly #read = new Set<string>();

  /** The beginnings of a chat, the longest first. A `prompt_cache_key` keeps chats apart that begin alike. */
  beginningsOf(accountId: string, { messages, tools, prompt_cache_key: cacheKey }: JsonObject): Beginning[] {
    const text = beginningText(tools, messages);
    const beginnings: Beginning[] = [];
    for (let characters = SHORTEST_BEGINNING; characters <= text.length; characters *= 2) {
      const hash = createHmac('sha256', this.#key)
        .update(JSON.stringify([accountId, typeof cacheKey === 'string' ? cacheKey : null]))
        .update(text.slice(0, characters))
        .digest('base64url');
      beginnings.unshift({ hash, characters });
    }
    return beginnings;
  }

  /** The machine has read this prompt. */
  remember(machineId: string, build: string, beginnings: readonly Beginning[]): void {
    for (const { hash } of beginnings) {
      const entry = entryOf(machineId, build, hash);
      this.#read.delete(entry);
      this.#read.add(entry);
    }
    for (const oldest of this.#read) {
      if (this.#read.size <= MAX_REMEMBERED) return;
      this.#read.delete(oldest);
    }
  }

  /** Tokens of the prompt that the machine has probably in its cache. */
  cachedTokens(machineId: string, build: string, beginnings: readonly Beginning[]): number {
    const longest = beginnings.find(({ hash }) => this.#read.has(entryOf(machineId, build, hash)));
    return longest === undefined ? 0 : longest.characters / CHARACTERS_PER_TOKEN;
  }

  get remembered(): number {
    return this.#read.size;
  }
}

function entryOf(machineId: string, build: string, hash: string): string {
  return `${machineId} ${build} ${hash}`;
}

/** Templates put tools before messages. No more is written out than is hashed. */
function beginningText(tools: unknown, messages: unknown): string {
  let text = JSON.stringify(tools ?? null);
  for (const message of Array.isArray(messages) ? messages : []) {
    if (text.length >= LONGEST_BEGINNING) break;
    text += JSON.stringify(message);
  }
  return text.slice(0, LONGEST_BEGINNING);
}
