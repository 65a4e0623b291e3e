import { ApiError, call, type Balance, type Usage } from './api.js';
import { barsOf, type Bar, type Period } from './bars.js';
import { Component, h } from './preact.js';
import { counted, messageOf, Problem } from './words.js';

interface UsageProps {
  /** Goes up when there may be something new. */
  version: number;
  signedOut: () => void;
}

const PERIODS: readonly { id: Period; label: string; days: number }[] = [
  { id: 'day', label: '24 hours', days: 1 },
  { id: 'week', label: '7 days', days: 7 },
  { id: 'month', label: '30 days', days: 30 },
];

interface UsageState {
  period: Period;
  usage?: Usage;
  /** Micro-USD. */
  balance: number;
  problem?: string | undefined;
}

/** Requests and tokens over time, in hours or days of this browser's time zone, and what is left to pay with. */
export class UsageSection extends Component<UsageProps, UsageState> {
  override state: UsageState = { period: 'week', balance: 0 };

  override componentDidMount(): void {
    void this.#read(this.state.period);
  }

  override componentDidUpdate(before: UsageProps): void {
    if (before.version !== this.props.version) void this.#read(this.state.period);
  }

  async #read(period: Period): Promise<void> {
    const days = PERIODS.find(({ id }) => id === period)?.days ?? 1;
    try {
      // a day more: the first bar is whole although the time began inside it
      const [usage, { balance_micro_usd: balance }] = await Promise.all([
        call<Usage>(`/v1/me/usage?days=${days + 1}`),
        call<Balance>('/v1/payments/balance'),
      ]);
      this.setState({ usage, balance, period, problem: undefined });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.props.signedOut();
      this.setState({ problem: messageOf(error) });
    }
  }

  override render() {
    const { period, usage, balance, problem } = this.state;
    return (
      <section aria-labelledby="usage">
        <div class="row">
          <h2 id="usage">Usage</h2>
          <fieldset class="choice">
            <legend class="unseen">Time</legend>
            {PERIODS.map(({ id, label }) => (
              <label key={id}>
                <input type="radio" name="period" checked={id === period} onChange={() => void this.#read(id)} />
                <span>{label}</span>
              </label>
            ))}
          </fieldset>
        </div>
        <Problem text={problem} />
        {usage === undefined ? (
          <p class="dim">Asking …</p>
        ) : (
          <Plot bars={barsOf(usage.rows, period, new Date())} complete={usage.complete} balance={balance} />
        )}
      </section>
    );
  }
}

function Plot({ bars, complete, balance }: { bars: readonly Bar[]; complete: boolean; balance: number }) {
  const total = bars.reduce((sum, bar) => ({
    ...sum,
    requests: sum.requests + bar.requests,
    prompt: sum.prompt + bar.prompt,
    completion: sum.completion + bar.completion,
    cost: sum.cost + bar.cost,
  }));
  if (total.requests === 0) {
    return (
      <div>
        <p class="empty">No request in this time. Send one above, or from your own program.</p>
        {balance > 0 ? <p class="dim">Your balance is {usd(balance)}.</p> : null}
      </div>
    );
  }
  const top = roundUp(Math.max(...bars.map(({ prompt, completion }) => prompt + completion)));
  const summary = `${counted(total.requests, 'request')}, ${total.prompt.toLocaleString('en')} tokens read, ${total.completion.toLocaleString('en')} written`;
  return (
    <div>
      <dl class="figures small">
        <Figure name="Requests" value={total.requests.toLocaleString('en')} />
        <Figure name="Tokens read" value={total.prompt.toLocaleString('en')} swatch="read" />
        <Figure name="Tokens written" value={total.completion.toLocaleString('en')} swatch="written" />
        <Figure name="Cost" value={total.cost === 0 ? 'free' : usd(total.cost)} />
        {balance > 0 || total.cost > 0 ? <Figure name="Balance" value={usd(balance)} /> : null}
      </dl>
      {complete ? null : <p class="hint">There is more than can be shown: the oldest are left out.</p>}
      <div
        class="plot"
        role="img"
        aria-label={`${summary}, from ${bars[0]?.label ?? ''} to ${bars.at(-1)?.label ?? ''}`}
      >
        <span class="top">{top.toLocaleString('en')}</span>
        <div class="bars">
          {bars.map((bar) => (
            <div key={bar.start} class="bar" title={sentence(bar)}>
              <i class="written" style={{ height: `${(bar.completion / top) * 100}%` }} />
              <i class="read" style={{ height: `${(bar.prompt / top) * 100}%` }} />
            </div>
          ))}
        </div>
        <div class="axis">
          <span>{bars[0]?.label}</span>
          <span>{bars[Math.floor(bars.length / 2)]?.label}</span>
          <span>{bars.at(-1)?.label}</span>
        </div>
      </div>
      <details>
        <summary>As a table</summary>
        <div class="wide" tabIndex={0} role="region" aria-label="Usage as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">Requests</th>
                <th scope="col">Read</th>
                <th scope="col">Written</th>
              </tr>
            </thead>
            <tbody>
              {bars
                .filter(({ requests }) => requests > 0)
                .map((bar) => (
                  <tr key={bar.start}>
                    <th scope="row">{bar.label}</th>
                    <td>{bar.requests.toLocaleString('en')}</td>
                    <td>{bar.prompt.toLocaleString('en')}</td>
                    <td>{bar.completion.toLocaleString('en')}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}

function Figure({ name, value, swatch }: { name: string; value: string; swatch?: string }) {
  return (
    <div>
      <dt>
        {swatch === undefined ? null : <i class={`swatch ${swatch}`} />}
        {name}
      </dt>
      <dd>{value}</dd>
    </div>
  );
}

function sentence({ label, requests, prompt, completion }: Bar): string {
  return `${label}: ${counted(requests, 'request')}, ${prompt.toLocaleString('en')} tokens read, ${completion.toLocaleString('en')} written`;
}

function usd(micro: number): string {
  return `$${(micro / 1e6).toFixed(4)}`;
}

/** The next 1, 2 or 5 times a power of ten: an axis ends at a figure that one can read. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}
