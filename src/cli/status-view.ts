import type { BlockedStatus, Status } from '../service/status.js';
import { fit, wrapped } from './screen.js';
import { style } from './style.js';
import { gib } from '../util/byte-words.js';

/** Status in words, as lines no wider than `width`. Pure. */

const BARS = '▁▂▃▄▅▆▇█';
const NAME_WIDTH = 12;
/** Room for `12345 tokens/s, last 60 s `. */
const SPEED_WORDS_WIDTH = 27;
const MAX_FACT_LINES = 6;

export function statusLines(status: Status | BlockedStatus, width: number, now: number): string[] {
  if (status.state === 'blocked') return blockedLines(status, width, now);
  return [
    ...longFact('state', stateText(status), width),
    ...longFact('mode', modeText(status), width),
    ...longFact('connection', connectionText(status, now), width),
    ...(status.trust === undefined ? [] : longFact('trust', trustText(status.trust), width)),
    fact('address', status.base_url, width),
    ...longFact('requests', requestsText(status), width),
    fact('speed', speedText(status, width), width),
    fact('memory', memoryText(status), width),
    fact('up', `${duration(now - Date.parse(status.started_at))}, process ${status.pid}`, width),
    '',
    ...modelLines(status, width, now),
    ...errorLines(status, width, now),
  ];
}

function blockedLines(status: BlockedStatus, width: number, now: number): string[] {
  return [
    ...longFact('state', 'blocked: it serves nothing until this is mended, and then goes on by itself', width),
    ...longFact('reason', status.reason.message, width),
    fact('home', status.home, width),
    fact('up', `${duration(now - Date.parse(status.started_at))}, process ${status.pid}`, width),
  ];
}

/** A fact whose every word counts, over some lines. */
function longFact(name: string, text: string, width: number): string[] {
  const lines = wrapped(text, width - NAME_WIDTH).slice(0, MAX_FACT_LINES);
  return lines.map((line, index) => fact(index === 0 ? name : '', line, width));
}

function fact(name: string, text: string, width: number): string {
  return `${style.dim(name.padEnd(NAME_WIDTH))}${fit(text, width - NAME_WIDTH)}`;
}

function stateText({ state }: Status): string {
  switch (state) {
    case 'serving':
      return 'serving';
    case 'paused':
      return 'paused; `darkbloom-provider resume` serves again';
    case 'draining':
      return 'stopping when the running requests have ended';
    case 'starting':
      return 'starting';
    case 'stopped':
      return 'stopped';
    default:
      return state satisfies never;
  }
}

function modeText({ mode, connection }: Status): string {
  return mode === 'local' ? 'local: this machine is its own coordinator' : `linked to ${connection.coordinator_url}`;
}

function connectionText({ connection }: Status, now: number): string {
  const since = duration(now - Date.parse(connection.since));
  switch (connection.state) {
    case 'online':
      return `connected for ${since}`;
    case 'waiting':
    case 'dialing':
    case 'registering': {
      const why = connection.last_loss === undefined ? '' : ` (${connection.last_loss})`;
      return `not connected, try ${(connection.attempt ?? 0) + 1}${why}`;
    }
    case 'closed':
      return 'closed';
    default:
      return connection.state satisfies never;
  }
}

function trustText(trust: NonNullable<Status['trust']>): string {
  if (trust.runtime_verified === false) {
    return `not routable here, so no requests come: ${(trust.mismatches ?? []).join('; ') || 'the runtime is not accepted'}`;
  }
  if (trust.status === 'untrusted') return `not trusted, so no requests come: ${trust.reason ?? 'no reason was given'}`;
  const words = [trust.level, trust.status, trust.reason].filter((word) => word !== undefined);
  return words.length === 0 ? 'the coordinator accepts this runtime' : words.join(', ');
}

function requestsText({ requests }: Status): string {
  const { running, waiting, served, tokens_generated: tokens } = requests;
  return `${running} running, ${waiting} waiting; ${served} served with ${tokens} tokens since the start`;
}

function speedText({ tokens_per_second: history }: Status, width: number): string {
  const bars = sparkline(history, width - NAME_WIDTH - SPEED_WORDS_WIDTH);
  return `${history.at(-1) ?? 0} tokens/s, last ${bars.length} s ${bars}`;
}

/** The last seconds as bars, as many as fit, the newest at the right. */
export function sparkline(history: readonly number[], width: number): string {
  const room = Math.max(0, Math.min(history.length, width));
  const shown = room === 0 ? [] : history.slice(-room);
  const top = Math.max(1, ...shown);
  return shown.map((value) => BARS[Math.round((value / top) * (BARS.length - 1))] ?? ' ').join('');
}

function memoryText({ memory }: Status): string {
  return `${gib(memory.used_bytes)} of ${gib(memory.limit_bytes)} GiB in use by loaded models`;
}

function modelLines({ models }: Status, width: number, now: number): string[] {
  return models.flatMap((model) => {
    const speed = model.decode_tps === undefined ? '' : `, ${Math.round(model.decode_tps)} tokens/s per request`;
    const busy = model.running + model.waiting === 0 ? '' : `, ${model.running} running, ${model.waiting} waiting`;
    const name = fit(model.alias, Math.floor((width - NAME_WIDTH) / 2)); // a long name must not hide its state
    const gone = model.missing_file === undefined ? '' : ', its file is gone';
    const state = `${modelState(model.state)}${gone}`;
    const text = `${name}: ${state}, ${gib(model.memory_bytes)} GiB${busy}${speed}${stayText(model, now)}`;
    return longFact('model', text, width);
  });
}

function stayText({ kept, unloads_at: unloadsAt }: Status['models'][number], now: number): string {
  if (kept === true) return ', kept';
  return unloadsAt === undefined ? '' : `, unloads in ${duration(Date.parse(unloadsAt) - now)}`;
}

function modelState(state: Status['models'][number]['state']): string {
  switch (state) {
    case 'absent':
      return 'not loaded until a request comes';
    case 'ready':
      return 'loaded';
    case 'waiting':
      return 'waiting for memory of other models';
    case 'loading':
      return 'loading';
    case 'unloading':
      return 'being unloaded';
    case 'failed':
      return 'could not be loaded';
    default:
      return state satisfies never;
  }
}

function errorLines({ errors }: Status, width: number, now: number): string[] {
  if (errors.length === 0) return [];
  const lines = errors
    .slice(0, 3)
    .map(({ at, message }) => fact('', `${duration(now - Date.parse(at))} ago: ${message}`, width));
  return ['', `${style.dim('last errors')}`, ...lines];
}

/** `2 h 5 min`, `40 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}
