import { request } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { knownModel, StartedCoordinator } from '../coordinator/started-coordinator.js';
import { BadWay, type Fate } from './bad-way.js';
import { booksWrong, settledRequests } from './books.js';
import { Echo } from './echo.js';
import { CountingGenerator, LinkedProvider, numbersTo } from './linked-provider.js';
import { seeded } from './seeded.js';

const BUILD = 'local/tiny';
const ROWS = 3;
const REQUESTS = 8;
const MOST_TOKENS = 40;
const MONEY = 10_000_000n;
/** Time passes in steps; between them, as many echoes as a frame and its answer have ways to go. */
const STEP_MS = 2_000;
const ECHOES = 4;
/** Until both sides have noticed a connection that is dead: a sweep sees 90 s of silence twice. */
const FINDING_OUT_MS = 200_000;
/** The longest that a request may take by its deadlines, and a link by its own, with much to spare. */
const MOST_STEPS = 1_000;

/** How one request went. */
interface Asked {
  paid: boolean;
  left: boolean;
  /** 0: the client left before there was any. */
  status: number;
  /** The stream or body came to its good end. */
  complete: boolean;
  text: string;
  wanted: string;
  jobId: string | undefined;
}

/** What is left of a story, when all is over. */
export interface Ending {
  seed: number;
  fates: Fate[];
  asked: Asked[];
  /** What should not be: empty when all is well. */
  wrong: string[];
}

/** Requests through a coordinator whose only provider is behind a bad way. Everything is real but the model and the
 *  clock. */
export async function tellStory(seed: number): Promise<Ending> {
  const random = seeded(seed);
  const wrong: string[] = [];
  await using echo = await Echo.open();
  const stage = await StartedCoordinator.start({ models: [knownModel(BUILD)] });
  const { coordinator, clock } = stage;
  const { accounts, ledger, owner, fleet } = coordinator;
  const guest = accounts.add('guest', { acceptUnattested: true });
  ledger.credit(guest.id, MONEY, 'test');
  const keys = { self: accounts.keys.create(owner.id, {}).secret, paid: accounts.keys.create(guest.id, {}).secret };
  const way = await BadWay.listen(coordinator.url, random);
  const provider = new LinkedProvider({
    coordinatorUrl: way.url,
    linkToken: accounts.mintProviderToken(owner.id, 'test'),
    build: BUILD,
    rows: ROWS,
    engine: new CountingGenerator(random),
    clock,
    random,
  });
  /** Lets time pass until something holds. */
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    for (let step = 0; !holds(); step++) {
      for (let echoes = 0; echoes < ECHOES; echoes++) await echo.roundTrip();
      if (holds()) return;
      if (step >= MOST_STEPS) {
        wrong.push(`not within ${(MOST_STEPS * STEP_MS) / 1_000} s: ${what}`);
        return;
      }
      clock.turn(STEP_MS);
    }
  };
  const asked: Asked[] = [];
  let open = 0;
  const ask = async (how: Omit<Asking, 'random'>): Promise<Asked> => {
    open++;
    try {
      const asking = await askOnce(coordinator.url, keys[how.paid ? 'paid' : 'self'], { random, ...how });
      asked.push(asking);
      return asking;
    } finally {
      open--;
    }
  };

  await until(
    'the provider is there',
    () => fleet.sessions.some(({ machine }) => machine.challengedAt !== undefined) || way.fates.length > 3,
  );
  for (let count = 0; count < REQUESTS; count++) {
    void ask({ leaves: random() < 0.3, breaks: random() < 0.1, paid: random() < 0.5 });
    for (let turns = Math.floor(random() * 30); turns > 0; turns--) await nextTurn();
  }
  way.calm();
  await until('all requests have ended', () => open === 0);
  await until(
    'nothing runs',
    () => coordinator.requestsRunning === 0 && provider.jobs.running === 0 && provider.engine.running === 0,
  );
  const isBack = () =>
    provider.link.state.name === 'online' &&
    fleet.sessions.length === 1 &&
    fleet.machines.every(({ challengedAt, mistrust }) => challengedAt !== undefined && mistrust === undefined);
  const found = clock.now() + FINDING_OUT_MS;
  await until('the provider is online again, once', () => clock.now() > found && isBack());
  let after: Asked | undefined;
  void ask({ leaves: false, breaks: false, paid: false }).then((result) => (after = result));
  await until('the next request has ended', () => after !== undefined);
  if (after?.complete !== true) wrong.push(`the next request was answered ${after?.status}`);
  await until('nothing runs at the end', () => coordinator.requestsRunning === 0 && provider.jobs.running === 0);

  for (const { complete, text, wanted } of asked) {
    if (complete ? text !== wanted : !wanted.startsWith(text))
      wrong.push(`a text of ${text.length} characters is not right`);
  }
  const answered = asked.filter(({ complete, left }) => complete || left);
  const known = new Set(answered.flatMap(({ jobId }) => jobId ?? []));
  // a client that left early never learned its number; no more rows than such clients are theirs
  const rows = settledRequests(stage.database);
  const unknown = rows.filter((id) => !known.has(id));
  if (unknown.length > answered.filter(({ jobId }) => jobId === undefined).length)
    wrong.push('a charge without an answer');
  for (const { complete, jobId } of asked) {
    if (complete && !rows.includes(jobId ?? '')) wrong.push('a whole answer is not in the books');
  }
  wrong.push(...booksWrong(stage.database, new Set([...known, ...unknown])));
  for (const { running, machine } of fleet.sessions) {
    if (running > 0 || machine.assigned.size > 0) wrong.push('a request is left at the coordinator');
  }
  if (fleet.line.length > 0) wrong.push('a request is left in line');

  await provider[Symbol.asyncDispose]();
  await way[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
  if (clock.pending > 0) wrong.push(`${clock.pending} timers are left`);
  if (way.openSockets > 0) wrong.push(`${way.openSockets} sockets are left`);
  return { seed, fates: way.fates, asked, wrong };
}

const Chunk = z.object({ choices: z.array(z.object({ delta: z.object({ content: z.string().default('') }) })) });
const Whole = z.object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]) });

interface Asking {
  random: () => number;
  leaves: boolean;
  /** The machine fails in the middle of the answer. */
  breaks: boolean;
  paid: boolean;
}

/** One request on a connection of its own. Errors of the connection count as no answer. */
function askOnce(url: string, key: string, { random, leaves, breaks, paid }: Asking): Promise<Asked> {
  const count = 1 + Math.floor(random() * MOST_TOKENS);
  const stream = random() < 0.7;
  const leavesAfter = leaves ? Math.floor(random() * 1_500) : Infinity; // bytes of the answer
  const body = JSON.stringify({
    model: 'tiny',
    messages: [{ role: 'user', content: `${breaks ? 'break' : 'count'} ${count}` }],
    stream,
    max_tokens: 100,
  });
  const wanted = numbersTo(count).trimEnd();
  return new Promise((resolve) => {
    let raw = '';
    const end = (status: number, jobId?: string) => {
      const { text, complete } = read(raw, stream, status);
      resolve({ paid, left: leaves && !complete, status, complete, text, wanted, jobId });
    };
    const asking = request(
      `${url}/v1/chat/completions`,
      {
        method: 'POST',
        agent: false,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      },
      (response) => {
        const job = response.headers['x-inference-job-id'];
        response.setEncoding('utf8');
        response.on('data', (piece: string) => {
          raw += piece;
          if (raw.length >= leavesAfter) asking.destroy();
        });
        response.on('close', () => end(response.statusCode ?? 0, typeof job === 'string' ? job : undefined));
      },
    );
    asking.on('error', () => end(0));
    asking.end(body);
    if (leavesAfter < 100) setImmediate(() => asking.destroy());
  });
}

function read(raw: string, stream: boolean, status: number): { text: string; complete: boolean } {
  if (status !== 200) return { text: '', complete: false };
  if (!stream) {
    const whole = Whole.safeParse(tryJson(raw)).data;
    return { text: (whole?.choices[0].message.content ?? '').trimEnd(), complete: whole !== undefined };
  }
  const frames = raw.split('\n\n').filter((frame) => frame.startsWith('data: {'));
  const text = frames.flatMap((frame) => Chunk.safeParse(tryJson(frame.slice('data: '.length))).data?.choices ?? []);
  return {
    text: text
      .map(({ delta }) => delta.content)
      .join('')
      .trimEnd(),
    complete: raw.endsWith('data: [DONE]\n\n'),
  };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
