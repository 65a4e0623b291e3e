import { isWarm, loadOf, slotOf, type Machine } from './machine.js';

/** How long a machine probably takes to the first token of an answer. */

/** Tokens per second of a machine that has said and shown nothing. */
const DEFAULT_PREFILL_TPS = 200;
const DEFAULT_DECODE_TPS = 20;
/** Loading a model that the machine unloaded lately, and one it never said anything of. */
const RELOAD_MS = 20_000;
const LOAD_MS = 30_000;
/** A machine that was not heard of for three heartbeats may be gone: finding out costs the time to accept. */
const SILENT_AFTER_MS = 15_000;
const SILENCE_MS = 5_000;
/** A warm machine slows itself down. */
const THERMAL: Record<string, number> = { nominal: 1, fair: 1.1, serious: 1.5 };

/** Tokens of a prompt, and how many of them are probably cached on the machine. */
export interface PromptSize {
  tokens: number;
  cachedTokens: number;
}

/** Milliseconds, by what the machine says of itself. Pure. */
export function expectedFirstTokenMs(machine: Machine, build: string, prompt: PromptSize, now: number): number {
  const slot = slotOf(machine, build);
  const warm = isWarm(machine, build);
  const prefillTps = positive(slot?.observed_prefill_tps) ?? positive(machine.prefillTps) ?? DEFAULT_PREFILL_TPS;
  const decodeTps = positive(slot?.observed_decode_tps) ?? positive(machine.decodeTps) ?? DEFAULT_DECODE_TPS;
  const uncached = Math.max(0, prompt.tokens - (warm ? prompt.cachedTokens : 0));
  const sharers = 1 + loadOf(machine, build); // what runs takes its part of every step
  const readingMs = (uncached / prefillTps + 1 / decodeTps) * 1_000 * sharers;
  const loadMs = warm ? 0 : (slot?.model_load_time_ms ?? (slot?.state === 'idle_shutdown' ? RELOAD_MS : LOAD_MS));
  const silenceMs = now - machine.heardAt > SILENT_AFTER_MS ? SILENCE_MS : 0;
  return loadMs + silenceMs + readingMs * (THERMAL[machine.metrics?.thermal_state ?? ''] ?? 1);
}

function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined;
}
