import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Accounts } from '../src/coordinator/accounts.js';
import { Ledger } from '../src/coordinator/ledger.js';
import { MIGRATIONS } from '../src/coordinator/migrations.js';
import { auditBooks } from '../src/coordinator/audit.js';
import { Database } from '../src/database.js';
import { systemClock } from '../src/util/clock.js';
import type { Lifetime } from '../src/util/lifetime.js';
import type { LoopOrder, LoopResult } from './closed-loop.js';
import { inTurn, valuesOf, type Series } from './compare.js';
import { BENCH_ALIAS, MACHINE_ROWS, type PartOrder, type PartReport } from './coordinator-orders.js';
import type { Floor } from './floors.js';
import { useOf } from './processes.js';
import { median, pairedDifferences, quantile } from './statistics.js';

const MAIN = fileURLToPath(new URL('coordinator-parts.js', import.meta.url));
/** Of 19; the higher, the later its turn. */
const NICENESS = 5;
const CLIENTS = [1, 8, 64];
const REQUESTS_A_CLIENT = { 1: 400, 8: 150, 64: 60 } as Readonly<Record<number, number>>;
const WARM_UP = { clients: 8, requests: 800 };
const CREDIT_MICRO_USD = 1_000_000_000_000n;

/** Who is asked: the bare handler, the coordinator for free, the coordinator for money. */
interface Contender {
  name: 'bare' | 'self' | 'paid';
  order: Pick<LoopOrder, 'url' | 'key' | 'route'>;
}

interface CoordinatorBench {
  series: Series[];
  problems: string[];
}

/** What the coordinator adds to a machine that answers at once, beside a bare handler of the same HTTP library. Every
 *  process is its own; the books are synced to the disk in full, and audited at the end. */
export async function benchCoordinator(
  { repeats }: { repeats: number },
  life: Lifetime,
  progress: (line: string) => void,
): Promise<CoordinatorBench> {
  const folder = mkdtempSync(join(tmpdir(), 'darkbloom-bench-coordinator-'));
  life.own(() => rmSync(folder, { recursive: true, force: true }));
  const database = join(folder, 'coordinator.db');
  const { payingKey, owningKey, linkTokens } = prepare(database);
  const own = async (order: PartOrder) => {
    const part = await Part.start(order);
    life.own(() => part.stop());
    return part;
  };
  const bare = await own({ part: 'bare' });
  const coordinator = await own({ part: 'coordinator', database });
  const machines = await own({ part: 'machines', coordinatorUrl: coordinator.url, linkTokens });
  const load = await own({ part: 'load' });
  setPriority(load.pid, NICENESS);
  const contenders: Contender[] = [
    { name: 'bare', order: { url: bare.url, key: '', route: 'none' } },
    { name: 'self', order: { url: coordinator.url, key: owningKey, route: 'self' } },
    { name: 'paid', order: { url: coordinator.url, key: payingKey, route: 'none' } },
  ];
  progress('warming up');
  for (const { order } of contenders) await load.drive({ ...order, model: BENCH_ALIAS, ...WARM_UP });

  const book = new Map<string, Series>();
  const problems: string[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const clients of CLIENTS) {
      for (const { name, order } of inTurn(contenders, repeat)) {
        progress(`${repeat + 1}/${repeats} ${clients} clients, ${name}`);
        const before = [coordinator, machines].map(({ pid }) => useOf(pid).cpuSeconds);
        const requests = clients * (REQUESTS_A_CLIENT[clients] ?? 1);
        const result = await load.drive({ ...order, model: BENCH_ALIAS, clients, requests });
        const after = [coordinator, machines].map(({ pid }) => useOf(pid).cpuSeconds);
        const [coordinatorCpu = 0, machinesCpu = 0] = after.map((seconds, index) => seconds - (before[index] ?? 0));
        if (result.failed > 0) problems.push(`${result.failed} requests of ${name} failed: ${result.reason ?? ''}`);
        const figures = figuresOf(result);
        const cores = (seconds: number) => (seconds * 1_000) / result.wallMs;
        const shares = { coordinatorCores: cores(coordinatorCpu), machinesCores: cores(machinesCpu) };
        for (const [figure, value] of Object.entries(name === 'bare' ? figures : { ...figures, ...shares })) {
          put(book, { load: `clients-${clients}`, contender: name, figure, value });
        }
      }
    }
  }
  const { discrepancies, openHolds } = auditBooks(database);
  if (discrepancies.length + openHolds.count > 0) problems.push('the books are wrong after the load');
  return { series: [...book.values(), ...added([...book.values()])], problems };
}

function figuresOf({ firstTokenMs, wallMs, cpuSeconds }: LoopResult): Record<string, number> {
  return {
    ttftP50Ms: median(firstTokenMs),
    ttftP99Ms: quantile(firstTokenMs, 0.99),
    requestsPerSecond: (firstTokenMs.length * 1_000) / wallMs,
    generatorCores: (cpuSeconds * 1_000) / wallMs,
  };
}

function put(book: Map<string, Series>, { value, ...of }: Omit<Series, 'values'> & { value: number }): void {
  const name = JSON.stringify(of);
  const series = book.get(name) ?? { ...of, values: [] };
  series.values.push(value);
  book.set(name, series);
}

/** To the bare handler's figure of the same repeat. */
function added(series: readonly Series[]): Series[] {
  return series.flatMap(({ load, contender, figure, values }) => {
    const theirs = valuesOf(series, load, 'bare', figure);
    if (contender === 'bare' || !figure.startsWith('ttft') || theirs === undefined) return [];
    const name = figure.replace('ttft', 'addedTtft');
    return [{ load, contender, figure: name, values: pairedDifferences(values, theirs) }];
  });
}

export const COORDINATOR_FLOORS: readonly Floor[] = (['self', 'paid'] as const).flatMap((contender): Floor[] => [
  {
    name: `added to the first token at the median, 1 client, ${contender}`,
    unit: 'ms',
    better: 'lower',
    floor: 4,
    aim: 2,
    values: (series) => valuesOf(series, 'clients-1', contender, 'addedTtftP50Ms'),
  },
  {
    name: `short requests a second, 64 clients, ${contender}`,
    unit: 'rate',
    better: 'higher',
    floor: 600,
    aim: 1_200,
    values: (series) => valuesOf(series, 'clients-64', contender, 'requestsPerSecond'),
  },
]);

/** A consumer who pays strangers, and an owner with own machines; as many machines as the most clients need. */
function prepare(path: string) {
  const database = new Database(path, MIGRATIONS);
  const accounts = new Accounts(database, systemClock);
  const [payer, owner, host] = ['payer', 'owning', 'host'].map((name) =>
    accounts.add(name, { acceptUnattested: true }),
  );
  if (payer === undefined || owner === undefined || host === undefined) throw new Error('no accounts');
  new Ledger(database, systemClock).credit(payer.id, CREDIT_MICRO_USD, 'bench');
  const machines = Math.ceil(Math.max(...CLIENTS) / MACHINE_ROWS);
  const tokensOf = (id: string) => Array.from({ length: machines }, () => accounts.mintProviderToken(id, 'bench'));
  const prepared = {
    payingKey: accounts.keys.create(payer.id, {}).secret,
    owningKey: accounts.keys.create(owner.id, {}).secret,
    linkTokens: [...tokensOf(host.id), ...tokensOf(owner.id)],
  };
  database.close();
  return prepared;
}

/** One process of the suite. */
class Part {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(order: PartOrder): Promise<Part> {
    const child = fork(MAIN, [], { serialization: 'advanced', execArgv: [] });
    process.once('exit', () => child.kill('SIGKILL'));
    child.send(order);
    const report = await reportOf(child);
    if (report.type !== 'ready') throw new Error(`${order.part} answered ${report.type}.`);
    return new Part(child, report.url);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async drive(order: LoopOrder): Promise<LoopResult> {
    this.#child.send(order);
    const report = await reportOf(this.#child);
    if (report.type !== 'ran') throw new Error(`The load answered ${report.type}.`);
    return report.result;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

async function reportOf(child: ChildProcess): Promise<PartReport> {
  const over = new AbortController();
  const ended = once(child, 'exit', { signal: over.signal }).then(() => {
    throw new Error('A process of the suite ended.');
  });
  try {
    const [report] = (await Promise.race([once(child, 'message', { signal: over.signal }), ended])) as [PartReport];
    return report;
  } finally {
    ended.catch(() => undefined); // it is told above, or nobody waits for it any more
    over.abort();
  }
}
