import { ApiError, allModels, call, type Machines, type Model } from './api.js';
import { Chat } from './chat.js';
import { Keys } from './keys.js';
import { MachineList, machinesSentence, Now } from './live.js';
import { ModelList } from './models.js';
import { Component, h, render } from './preact.js';
import { NoAnswer, SignedIn } from './signed-in.js';
import { SnippetSection } from './snippets.js';
import { UsageSection } from './usage.js';
import { messageOf } from './words.js';

/** One question at a time, and none while nobody looks. */
const ASK_EVERY_MS = 2_000;
const ASK_AGAIN_MS = 5_000;
/** Which models others serve is asked for at every so many looks. */
const LOOKS_PER_LIST = 15;

interface ConsoleProps {
  signedOut: () => void;
}

interface ConsoleState {
  live?: Machines;
  models?: Model[];
  problem?: string | undefined;
  /** Answers that came while the page is open. */
  answers: number;
}

class Console extends Component<ConsoleProps, ConsoleState> {
  override state: ConsoleState = { answers: 0 };
  #timer: number | undefined;
  #asking = false;
  #looks = 0;

  override componentDidMount(): void {
    document.addEventListener('visibilitychange', this.#look);
    this.#look();
  }

  override componentWillUnmount(): void {
    document.removeEventListener('visibilitychange', this.#look);
    clearTimeout(this.#timer);
  }

  readonly #look = (): void => void this.#ask();

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#asking || document.hidden) return;
    this.#asking = true;
    let wait = ASK_EVERY_MS;
    try {
      const live = await call<Machines>('/v1/me/live');
      const isDue = this.#looks++ % LOOKS_PER_LIST === 0 || namesIn(live) !== namesIn(this.state.live);
      if (isDue) this.setState({ models: await allModels() });
      this.setState({ live, problem: undefined });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.props.signedOut();
        return;
      }
      wait = ASK_AGAIN_MS;
      this.setState({ problem: messageOf(error) });
    } finally {
      this.#asking = false;
    }
    this.#timer = setTimeout(this.#look, wait);
  }

  override render() {
    const { signedOut } = this.props;
    const { live, models, problem, answers } = this.state;
    const machines = live?.machines ?? [];
    return (
      <div class="console">
        <h1 class="unseen">Console</h1>
        <NoAnswer problem={problem} />
        <p class="unseen" role="status">
          {live === undefined ? '' : machinesSentence(live)}
        </p>
        <Now live={live} />
        <div class="columns">
          <Chat
            machines={machines}
            models={models ?? []}
            signedOut={signedOut}
            answered={() => this.setState({ answers: answers + 1 })}
          />
          <div class="stack">
            <MachineList live={live} />
            <ModelList models={models} machines={machines} />
          </div>
        </div>
        <UsageSection version={answers} signedOut={signedOut} />
        <div class="columns even">
          <SnippetSection model={machines[0]?.models[0]?.id ?? models?.[0]?.id} signedOut={signedOut} />
          <Keys signedOut={signedOut} />
        </div>
      </div>
    );
  }
}

/** When the names change the list of models is asked for at once. */
function namesIn(live: Machines | undefined): string | undefined {
  return live && JSON.stringify(live.machines.map(({ id, models }) => [id, models.map(({ build }) => build)]));
}

const page = document.getElementById('page');
if (page !== null) {
  page.replaceChildren();
  render(<SignedIn here="console" page={(signedOut) => <Console signedOut={() => signedOut()} />} />, page);
}
