import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Coordinator } from '../../src/coordinator/coordinator.js';
import { machineIdOf } from '../../src/coordinator/accounts.js';
import { silentLog } from '../../src/log.js';
import { systemClock } from '../../src/util/clock.js';
import { knownModel } from '../coordinator/started-coordinator.js';
import { booksWrong } from './books.js';
import { eventually } from './eventually.js';
import { loopModel, sayModel } from './made-models.js';
import { RunningDaemon } from './running-daemon.js';
import { seeded } from './seeded.js';
import { TemporaryHome } from './temporary-home.js';

const SHARED = 'darkbloom-tiny-chat';
const MODELS = [
  knownModel('local/darkbloom-tiny-chat-f16', SHARED),
  knownModel('local/say-f16', 'say'),
  knownModel('local/loop-f16', 'loop'),
];
const MONEY = 1_000_000_000n;
const MODES = ['self', 'prefer', 'none'] as const;

interface FleetStory {
  seed: number;
  clients: number;
  durationMs: number;
  /** A machine is killed, drained or added so often. */
  eventMs: number;
}

interface FleetEnding {
  /** How many requests ended how: `complete`, or the code of their error. */
  outcomes: Map<string, number>;
  events: string[];
  /** Empty when all is well. */
  wrong: string[];
}

/** Clients of two accounts at three real daemons with different models, while machines come and go. */
export async function tellFleetStory({ seed, clients, durationMs, eventMs }: FleetStory): Promise<FleetEnding> {
  const random = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  using home = new TemporaryHome();
  const coordinator = await Coordinator.start({
    database: home.home.database,
    host: '127.0.0.1',
    port: 0,
    selfRouteDefault: 'self',
    readOwnerKey: () => undefined,
    version: '0.7.0',
    models: MODELS,
    clock: systemClock,
    log: silentLog(),
  });
  const { accounts, ledger, fleet, url } = coordinator;
  const people = ['one', 'two'].map((name) => accounts.add(name, { acceptUnattested: true }));
  const [one, two] = people as [(typeof people)[number], (typeof people)[number]];
  for (const { id } of people) ledger.credit(id, MONEY, 'test');
  const seats = [
    { account: one, own: { say: sayModel() }, open: false },
    { account: one, own: { loop: loopModel() }, open: true },
    { account: two, own: { say: sayModel(), loop: loopModel() }, open: true },
  ].map((seat) => ({ ...seat, token: accounts.mintProviderToken(seat.account.id, 'test') }));
  type Seat = (typeof seats)[number];
  const running = new Map<Seat, RunningDaemon>();
  const events: string[] = [];
  const wrong: string[] = [];

  const add = async (seat: Seat) => {
    const settings = {
      'coordinator.url': url,
      'provider.serve_others': seat.open,
      'models.files': seat.own,
      'engine.slots': 2,
      'engine.context_tokens': 512,
      'engine.threads': 1,
    };
    running.set(seat, await RunningDaemon.start(settings, silentLog(), seat.token));
  };
  const remove = async (seat: Seat, drain: boolean) => {
    const daemon = running.get(seat);
    running.delete(seat);
    if (drain) await daemon?.daemon.drain(AbortSignal.timeout(5_000));
    await daemon?.[Symbol.asyncDispose]();
  };
  await Promise.all(seats.map(add));
  await eventually('three machines are there', () => {
    return fleet.machines.filter(({ challengedAt }) => challengedAt !== undefined).length === 3 || undefined;
  });

  const outcomes = new Map<string, number>();
  const answered = new Set<string>();
  let ended = false;
  const client = async (index: number): Promise<void> => {
    const account = people[index % people.length] ?? one;
    const key = accounts.keys.create(account.id, {}).secret;
    const own = new Set(seats.filter((seat) => seat.account === account).map(({ token }) => machineIdOf(token)));
    while (!ended) {
      const mode = pick(MODES);
      const { outcome, jobId, machine } = await ask(url, key, {
        model: pick([SHARED, 'say', 'loop']),
        mode,
        stream: random() < 0.5,
        tokens: 5 + Math.floor(random() * 40),
      });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (outcome === 'complete' && jobId !== null) answered.add(jobId);
      if (outcome === 'lost') wrong.push(`a request by ${mode} was lost without an error`);
      if (mode === 'self' && outcome === 'complete' && !own.has(machine ?? '')) wrong.push('self was served elsewhere');
      if (outcome !== 'complete') await sleep(20); // as a client that reads Retry-After would, only sooner
    }
  };
  const asking = Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  for (const end = performance.now() + durationMs; performance.now() + eventMs < end;) {
    await sleep(eventMs);
    const seat = pick(seats);
    const what = running.has(seat) ? pick(['killed', 'drained']) : 'added';
    events.push(`machine ${seats.indexOf(seat) + 1} ${what}`);
    await (what === 'added' ? add(seat) : remove(seat, what === 'drained'));
  }
  ended = true;
  await asking;
  await eventually('nothing runs', () => coordinator.requestsRunning === 0 || undefined);
  if (fleet.line.length > 0) wrong.push('a request is left in line');
  for (const session of fleet.sessions) if (session.running > 0) wrong.push('a request is left at a machine');
  await Promise.all([...running.keys()].map((seat) => remove(seat, false)));
  await coordinator.close();
  return { outcomes, events, wrong: [...wrong, ...booksWrong(home.home.database, answered)] };
}

const ErrorBody = z.object({ error: z.object({ code: z.string() }) });

/** One request, and how it ended: `complete`, the code of its error, or `lost` without any. */
async function ask(
  url: string,
  key: string,
  { model, mode, stream, tokens }: { model: string; mode: string; stream: boolean; tokens: number },
) {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-darkbloom-route': mode },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello!' }], max_tokens: tokens, stream }),
  });
  const text = await response.text();
  const jobId = response.headers.get('x-inference-job-id');
  const machine = response.headers.get('x-darkbloom-machine');
  return { outcome: outcomeOf(response.status, text, stream), jobId, machine };
}

function outcomeOf(status: number, text: string, stream: boolean): string {
  if (status !== 200) return `${status} ${ErrorBody.safeParse(tryJson(text)).data?.error.code ?? 'lost'}`;
  if (!stream) return tryJson(text) === undefined ? 'lost' : 'complete';
  if (text.endsWith('data: [DONE]\n\n')) return 'complete';
  const last =
    text
      .trimEnd()
      .split('\n\n')
      .at(-1)
      ?.replace(/^data: /u, '') ?? '';
  const code = ErrorBody.safeParse(tryJson(last)).data?.error.code;
  return code === undefined ? 'lost' : `stream ${code}`;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
