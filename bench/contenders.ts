import type { Lifetime } from '../src/util/lifetime.js';
import { DaemonProcess } from './daemon-process.js';
import { startLlamaServer } from './llama-server.js';
import { LoadGenerator } from './load-generator.js';
import type { Level, Peer } from './options.js';
import type { Plan, Recording } from './plan.js';
import { useOfDaemon } from './processes.js';
import type { ModelOrder, TargetSpec } from './target.js';

/** One who is compared, alive from the first repeat to the last. */
export interface Contender {
  name: string;
  generator: LoadGenerator;
  /** Absent for those that are no daemon of ours. */
  daemonPid?: number;
  /** The one load that it takes part in; absent: all. */
  onlyIn?: string;
}

const MODEL = 'bench';

export interface ContendersOrder {
  levels: readonly Level[];
  peers: readonly Peer[];
  llamaServer: string | undefined;
  model: ModelOrder;
}

/** Starts everyone; `life` owns them. Only one is driven at a time. */
export async function startContenders(
  { levels, peers, llamaServer, model }: ContendersOrder,
  life: Lifetime,
  progress: (line: string) => void,
): Promise<Contender[]> {
  const contenders: Contender[] = [];
  const add = async (name: string, spec: TargetSpec, more: Pick<Contender, 'daemonPid' | 'onlyIn'> = {}) => {
    const generator = await LoadGenerator.open(spec);
    life.own(() => generator.close());
    contenders.push({ name, generator, ...more });
  };
  const addDaemon = async (name: string, mode: 'local' | 'linked') => {
    const { rows, contextTokens, threads } = model;
    const daemon = await DaemonProcess.start({ mode, models: { [MODEL]: model.path }, rows, contextTokens, threads });
    life.own(() => daemon.stop());
    const { baseUrl, apiKey, pid: daemonPid } = daemon;
    await add(name, { kind: 'http', baseUrl, apiKey, model: MODEL }, { daemonPid });
  };
  const starts: Readonly<Record<Level, () => Promise<void>>> = {
    raw: () => add('raw', { kind: 'raw', model }),
    runner: () => add('runner', { kind: 'runner', model }),
    http: () => addDaemon('http', 'linked'),
    whole: () => addDaemon('whole', 'local'),
  };
  for (const level of levels) {
    progress(`starting ${level}`);
    await starts[level]();
  }
  if (llamaServer !== undefined) {
    for (const name of ['llama-server', 'llama-server-kvu'] as const) {
      progress(`starting ${name}`);
      const unified = name === 'llama-server-kvu';
      const server = await startLlamaServer(llamaServer, model, unified);
      life.own(() => server.stop());
      const spec = { kind: 'http', baseUrl: server.baseUrl, apiKey: 'none', model: MODEL } as const;
      await add(name, spec, unified ? { onlyIn: 'ragged' } : {});
    }
  }
  for (const { name, url, model: peerModel, apiKey } of peers) {
    await add(name, { kind: 'http', baseUrl: url, apiKey, model: peerModel });
  }
  return contenders;
}

export interface Measured {
  recording: Recording;
  /** CPU seconds of daemon ÷ (daemon + runner) meanwhile. */
  daemonCpuShare?: number;
}

export async function measure({ generator, daemonPid }: Contender, plan: Plan): Promise<Measured> {
  if (daemonPid === undefined) return { recording: await generator.drive(plan) };
  const before = useOfDaemon(daemonPid);
  const recording = await generator.drive(plan);
  const after = useOfDaemon(daemonPid);
  const daemon = after.daemon.cpuSeconds - before.daemon.cpuSeconds;
  const runners = after.runners.cpuSeconds - before.runners.cpuSeconds;
  return { recording, daemonCpuShare: daemon / (daemon + runners) };
}
