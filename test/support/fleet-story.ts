import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Coordinator } from '../../src/coordinator/coordinator.js';
import { machineIdOf, type Account } from '../../src/coordinator/accounts.js';
import { saveLinkToken } from '../../src/link/link-token.js';
import { silentLog } from '../../src/log.js';
import { systemClock } from '../../src/util/clock.js';
import { Lifetime } from '../../src/util/lifetime.js';
import { knownModel } from '../coordinator/started-coordinator.js';
import { booksWrong } from './books.js';
import { RunningCommand } from './command.js';
import { eventually } from './eventually.js';
import { loopModel, sayModel } from './made-models.js';
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

/** A machine of one account, whether its process runs or not. */
class Seat implements AsyncDisposable {
  readonly account: Account;
  readonly machineId: string;
  readonly #home = new TemporaryHome();
  #daemon: RunningCommand | undefined;

  /** `own`: its models beside the one that all have; `open`: it serves other accounts too. */
  constructor(
    coordinator: Coordinator,
    { account, own, open }: { account: Account; own: Record<string, string>; open: boolean },
  ) {
    this.account = account;
    const token = coordinator.accounts.mintProviderToken(account.id, 'test');
    this.machineId = machineIdOf(token);
    saveLinkToken(this.#home.home.linkToken, coordinator.url, token);
    const files = Object.entries(own).map(([name, path]) => `${name} = ${JSON.stringify(path)}`);
    const settings = [
      ...['[coordinator]', `url = "${coordinator.url}"`, '[provider]', `serve_others = ${open}`],
      ...['[engine]', 'slots = 2', 'context_tokens = 512', 'threads = 1', '[models.files]', ...files],
    ];
    writeFileSync(this.#home.home.config, settings.join('\n'));
  }

  get runs(): boolean {
    return this.#daemon !== undefined;
  }

  /** Resolves when it is linked. */
  async add(): Promise<void> {
    this.#daemon = new RunningCommand(['start', '--foreground', '--port', '0'], this.#home.home.folder);
    await this.#daemon.says(/link online/u);
  }

  /** Resolves when its process is gone: at once, or when it has finished what runs there. */
  async remove(how: 'killed' | 'drained'): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    const code = await daemon?.stop(how === 'killed' ? 'SIGKILL' : 'SIGTERM');
    if (how === 'drained' && code !== 0) throw new Error(`A daemon that was drained ended with ${code}.`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    this.#home[Symbol.dispose]();
  }
}

/** Clients of two accounts at three daemons with different models, each a process of its own that is killed, drained and
 *  started again. */
export async function tellFleetStory({ seed, clients, durationMs, eventMs }: FleetStory): Promise<FleetEnding> {
  const random = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  using home = new TemporaryHome();
  await using life = new Lifetime();
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
  life.own(() => coordinator.close());
  const { accounts, ledger, fleet, url } = coordinator;
  const people = ['one', 'two'].map((name) => accounts.add(name, { acceptUnattested: true }));
  const [one, two] = people as [Account, Account];
  for (const { id } of people) ledger.credit(id, MONEY, 'test');
  const seats = [
    { account: one, own: { say: sayModel() }, open: false },
    { account: one, own: { loop: loopModel() }, open: true },
    { account: two, own: { say: sayModel(), loop: loopModel() }, open: true },
  ].map((seat) => new Seat(coordinator, seat));
  for (const seat of seats) life.own(() => seat[Symbol.asyncDispose]());
  const events: string[] = [];
  const wrong: string[] = [];

  await Promise.all(seats.map((seat) => seat.add()));
  await eventually('three machines are there', () => {
    return fleet.machines.filter(({ challengedAt }) => challengedAt !== undefined).length === 3 || undefined;
  });

  const outcomes = new Map<string, number>();
  const answered = new Set<string>();
  let ended = false;
  const client = async (index: number): Promise<void> => {
    const account = people[index % people.length] ?? one;
    const key = accounts.keys.create(account.id, {}).secret;
    const own = new Set(seats.filter((seat) => seat.account === account).map(({ machineId }) => machineId));
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
    const what = seat.runs ? pick(['killed', 'drained'] as const) : 'added';
    events.push(`machine ${seats.indexOf(seat) + 1} ${what}`);
    await (what === 'added' ? seat.add() : seat.remove(what));
  }
  ended = true;
  await asking;
  await eventually('nothing runs', () => coordinator.requestsRunning === 0 || undefined);
  if (fleet.line.length > 0) wrong.push('a request is left in line');
  for (const session of fleet.sessions) if (session.running > 0) wrong.push('a request is left at a machine');
  await life.close();
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
