import type { Machine, Machines, MachineModel } from './api.js';
import { Fragment, h } from './preact.js';
import { ago, counted, Words } from './words.js';

/** Seconds at the end of the record whose mean is told as the speed now: one second alone jumps too much. */
const NOW_S = 3;

/** Tokens per second of all machines in each of the last 60 s. */
function totalSpeed(machines: readonly Machine[]): number[] {
  const [first, ...others] = machines.map((machine) => machine.tokens_per_second);
  if (first === undefined) return Array.from({ length: 60 }, () => 0);
  return first.map((value, second) => others.reduce((sum, other) => sum + (other[second] ?? 0), value));
}

function speedNow(history: readonly number[]): number {
  const last = history.slice(-NOW_S);
  return Math.round(last.reduce((sum, value) => sum + value, 0) / Math.max(1, last.length));
}

/** What happens at this moment, in one line of figures. */
export function Now({ live }: { live: Machines | undefined }) {
  const machines = live?.machines ?? [];
  const history = totalSpeed(machines);
  const running = machines.reduce((sum, machine) => sum + machine.running, 0);
  const waiting = machines.reduce((sum, machine) => sum + machine.waiting, 0);
  const top = Math.max(1, ...history);
  return (
    <section class="now" aria-labelledby="now">
      <h2 id="now" class="unseen">
        Now
      </h2>
      <dl class="figures">
        <div>
          <dt>Tokens per second</dt>
          <dd id="speed">{live === undefined ? '–' : speedNow(history)}</dd>
        </div>
        <div>
          <dt>Running</dt>
          <dd>
            {running}
            {waiting > 0 ? <small> + {waiting} waiting</small> : null}
          </dd>
        </div>
        <div>
          <dt>Machines</dt>
          <dd>{live === undefined ? '–' : machines.length}</dd>
        </div>
      </dl>
      <figure>
        <div
          class="spark"
          role="img"
          aria-label={`Tokens per second in the last minute, at most ${Math.max(...history)}`}
        >
          {history.map((value, second) => (
            <i key={second} style={{ height: `${(value / top) * 100}%` }} />
          ))}
        </div>
        <figcaption class="axis">
          <span>a minute ago</span>
          <span>now</span>
        </figcaption>
      </figure>
    </section>
  );
}

const STATES: Readonly<Record<Machine['state'], { word: string; tone: string; step?: string }>> = {
  ready: { word: 'Ready', tone: 'good' },
  busy: { word: 'Busy', tone: 'good' },
  paused: {
    word: 'Paused',
    tone: 'warn',
    step: 'It takes no requests. `darkbloom-provider resume` on it lets it serve again, unless it is being stopped.',
  },
  checking: { word: 'Checking', tone: 'warn', step: 'It has just connected, or has not answered a challenge lately.' },
  hot: { word: 'Too hot', tone: 'warn', step: 'It serves again by itself when it has cooled down.' },
  untrusted: { word: 'Not trusted', tone: 'bad', step: 'Restart it with `darkbloom-provider restart`.' },
};

const MODEL_STATES: Readonly<Record<MachineModel['state'], { word: string; tone: string }>> = {
  ready: { word: 'In memory', tone: 'good' },
  loading: { word: 'Loading', tone: 'warn' },
  absent: { word: 'On disk', tone: 'calm' },
  failed: { word: 'Failed to load', tone: 'bad' },
};

export function MachineList({ live }: { live: Machines | undefined }) {
  return (
    <section aria-labelledby="machines">
      <h2 id="machines">Machines</h2>
      {live === undefined ? (
        <p class="dim">Asking …</p>
      ) : live.machines.length === 0 ? (
        <NoMachine linked={live.linked} />
      ) : (
        <ul class="plain">
          {live.machines.map((machine) => (
            <MachineItem key={machine.id} machine={machine} />
          ))}
        </ul>
      )}
    </section>
  );
}

function NoMachine({ linked }: { linked: boolean }) {
  const step = linked
    ? 'Your machine is not connected. Start it with `darkbloom-provider start`.'
    : 'No machine is linked to this account. The page “Link a machine” says how.';
  return (
    <p class="empty">
      <strong>No machine online.</strong> <Words text={step} />
    </p>
  );
}

function MachineItem({ machine }: { machine: Machine }) {
  const { word, tone, step } = STATES[machine.state];
  return (
    <li class="item">
      <div class="row">
        <strong>{machine.chip}</strong>
        <Badge word={word} tone={tone} />
      </div>
      <p class="dim">
        {machine.memory_gb} GB · {machine.machine_model} · connected {ago(machine.connected_at)}
      </p>
      {step === undefined ? null : (
        <p class="hint">
          {machine.reason === undefined ? null : <>{machine.reason}. </>}
          <Words text={step} />
        </p>
      )}
      <ul class="plain models">
        {machine.models.map((model) => (
          <li key={model.build}>
            <div class="row">
              <span class="name">{model.id}</span>
              <Badge word={MODEL_STATES[model.state].word} tone={MODEL_STATES[model.state].tone} />
            </div>
            <Dim text={modelFacts(model)} />
          </li>
        ))}
      </ul>
      {machine.models.length === 0 ? (
        <p class="hint">
          <Words text="It has no model. `darkbloom-provider models catalog` lists what can be downloaded." />
        </p>
      ) : null}
    </li>
  );
}

function modelFacts({ running, waiting, decode_tps: speed }: MachineModel): string {
  return [
    ...(running > 0 ? [`${running} running`] : []),
    ...(waiting > 0 ? [`${waiting} waiting`] : []),
    ...(speed === undefined ? [] : [`writes ${Math.round(speed).toLocaleString('en')} tokens/s`]),
  ].join(' · ');
}

/** A line beneath a name; none when there is nothing to say. */
export function Dim({ text }: { text: string }) {
  return text === '' ? null : <p class="dim">{text}</p>;
}

export function Badge({ word, tone }: { word: string; tone: string }) {
  return <span class={`badge ${tone}`}>{word}</span>;
}

/** For `aria-live`: the state in a sentence. */
export function machinesSentence({ machines }: Machines): string {
  return machines.length === 0
    ? 'No machine online.'
    : `${counted(machines.length, 'machine')}: ${machines.map(({ chip, state }) => `${chip} ${STATES[state].word.toLowerCase()}`).join(', ')}.`;
}
