import { randomBytes } from 'node:crypto';
import type { Clock } from '../util/clock.js';
import { hashOf, newId, newSecret } from './secrets.js';

/** A one-time code is good for so long. */
export const CODE_LIFE_MS = 2 * 60_000;
/** A session that nobody uses ends after this time, and any session after the next. */
export const IDLE_MS = 2 * 60 * 60_000;
export const ABSOLUTE_MS = 24 * 60 * 60_000;
/** The oldest goes when one more is made. */
export const MAX_CODES = 16;
export const MAX_SESSIONS = 64;

interface OneTimeCode {
  /** Names the code without being it. */
  id: string;
  loginHash: string;
  expiresAt: number;
}

interface Session {
  loginHash: string;
  startedAt: number;
  usedAt: number;
}

/**
 * Who is signed in to the pages. A session stands for the login token it was opened with, of which only the SHA-256 is
 * here, and ends with it. Codes and session ids are kept as hashes, in memory alone: a restart signs everybody out.
 *
 *   code ──redeemed once, within two minutes──▶ session ──signed out, idle, too old──▶ gone
 */
export class PageSessions {
  readonly #clock: Clock;
  /** By the hash of the code. */
  readonly #codes = new Map<string, OneTimeCode>();
  /** By the hash of the session's id, the one used last at the end. */
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A code that opens one session for the holder of this login token. */
  mintCode(loginHash: string): { id: string; code: string } {
    if (this.#codes.size >= MAX_CODES) dropFirst(this.#codes);
    const code = randomBytes(32).toString('base64url');
    const id = newId('code_');
    this.#codes.set(hashOf(code), { id, loginHash, expiresAt: this.#clock.now() + CODE_LIFE_MS });
    return { id, code };
  }

  /** Whether the code with this id can still be redeemed. */
  isOpen(id: string): boolean {
    return [...this.#codes.values()].some((code) => code.id === id && code.expiresAt > this.#clock.now());
  }

  /** The login that the code stands for, the first time and in time; it is used up in any case. */
  redeem(code: string): string | undefined {
    const hash = hashOf(code);
    const found = this.#codes.get(hash);
    this.#codes.delete(hash);
    return found !== undefined && found.expiresAt > this.#clock.now() ? found.loginHash : undefined;
  }

  /** @returns the id of a new session, for the cookie. */
  open(loginHash: string): string {
    if (this.#sessions.size >= MAX_SESSIONS) dropFirst(this.#sessions);
    const id = newSecret('');
    const now = this.#clock.now();
    this.#sessions.set(hashOf(id), { loginHash, startedAt: now, usedAt: now });
    return id;
  }

  /** The login of a session, which is used by asking; `undefined` for one that is over or never was. */
  loginOf(id: string): string | undefined {
    const hash = hashOf(id);
    const session = this.#sessions.get(hash);
    if (session === undefined) return undefined;
    this.#sessions.delete(hash);
    const now = this.#clock.now();
    if (now - session.usedAt >= IDLE_MS || now - session.startedAt >= ABSOLUTE_MS) return undefined;
    this.#sessions.set(hash, { ...session, usedAt: now });
    return session.loginHash;
  }

  close(id: string): void {
    this.#sessions.delete(hashOf(id));
  }
}

function dropFirst(map: Map<string, unknown>): void {
  for (const [first] of map) {
    map.delete(first);
    return;
  }
}
