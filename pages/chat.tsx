import { ApiError, chat, type ChatMessage, type Machine, type Model } from './api.js';
import { Component, createRef, Fragment, h } from './preact.js';
import { messageOf, Problem } from './words.js';

const MAX_PROMPT_CHARACTERS = 32_000;
/** Within so many pixels of its end the conversation follows what is written. */
const FOLLOW_PX = 60;

/** An answer that is written faster than this has no speed that could be told. */
const SHORTEST_MEASURE_MS = 100;

interface ChatProps {
  machines: readonly Machine[];
  /** All that a request may name. */
  models: readonly Model[];
  /** The session has ended. */
  signedOut: () => void;
  /** An answer has ended. */
  answered: () => void;
}

interface Answer {
  prompt: string;
  reasoning: string;
  text: string;
  /** What there is to say of it: its speed, or how it ended. */
  facts: string;
}

interface ChatState {
  answers: Answer[];
  stop?: AbortController | undefined;
  problem?: string | undefined;
  /** For people who hear the page: that it began, that it ended. */
  said?: string;
}

/** A conversation with a model: on one's own machines, where they have it, else on those of others. It lives in this page
 *  alone and is gone with it. */
export class Chat extends Component<ChatProps, ChatState> {
  override state: ChatState = { answers: [] };
  readonly #log = createRef<HTMLDivElement>();
  readonly #prompt = createRef<HTMLTextAreaElement>();
  readonly #model = createRef<HTMLSelectElement>();

  override componentWillUnmount(): void {
    this.state.stop?.abort();
  }

  /** Whether the end of the conversation is in sight: then it stays there, whatever is added. */
  override getSnapshotBeforeUpdate(): boolean {
    const log = this.#log.current;
    return log !== null && log.scrollHeight - log.scrollTop - log.clientHeight < FOLLOW_PX;
  }

  override componentDidUpdate(_props: ChatProps, _state: ChatState, follow: boolean): void {
    const log = this.#log.current;
    if (follow && log !== null) log.scrollTop = log.scrollHeight;
  }

  readonly #submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const prompt = this.#prompt.current?.value.trim() ?? '';
    const model = this.#model.current?.value ?? '';
    if (prompt === '' || model === '' || this.state.stop !== undefined) return;
    if (this.#prompt.current !== null) this.#prompt.current.value = '';
    const before = this.state.answers;
    const stop = new AbortController();
    this.setState({
      answers: [
        ...before,
        {
          prompt,
          reasoning: '',
          text: '',
          facts: this.#isLoading(model) ? `Loading ${model} into memory …` : 'Waiting for the first word …',
        },
      ],
      stop,
      problem: undefined,
      said: 'Asked.',
    });
    requestAnimationFrame(() => this.#log.current?.scrollTo(0, this.#log.current.scrollHeight));
    await this.#answer(model, [...before.flatMap(toMessages), { role: 'user', content: prompt }], stop.signal);
    this.setState({ stop: undefined });
    if (document.activeElement === document.body) this.#prompt.current?.focus(); // Stop had it, and is gone
    this.props.answered();
  };

  /** What others have in memory is not known here. */
  #isLoading(model: string): boolean {
    const own = this.props.machines.flatMap(({ models }) => models.filter(({ id }) => id === model));
    return own.length > 0 && own.every(({ state }) => state !== 'ready');
  }

  async #answer(model: string, messages: ChatMessage[], signal: AbortSignal): Promise<void> {
    const isOwn = ownModels(this.props.machines).includes(model);
    const meter = new Meter(isOwn ? 'free: your own machine' : 'paid: the machine of another account');
    const written = { text: '', reasoning: '' };
    let frame: number | undefined; // a fast model writes more often than a screen can show
    const show = (facts: string) => {
      if (frame !== undefined) cancelAnimationFrame(frame);
      frame = undefined;
      this.#change((answer) => ({ ...answer, ...written, facts }));
    };
    try {
      for await (const part of chat(model, messages, isOwn ? 'self' : 'none', signal)) {
        if (part.type === 'usage') meter.tokens = part.tokens;
        else if (part.type === 'end') meter.ended(part.reason);
        else {
          meter.piece();
          written[part.type] += part.text;
          frame ??= requestAnimationFrame(() => show(meter.live()));
        }
      }
      show(meter.whole());
      this.setState({ said: 'The answer is complete.' });
    } catch (error) {
      const stopped = signal.aborted;
      show(stopped ? 'Stopped.' : 'Not answered.');
      this.setState(stopped ? { said: 'Stopped.' } : { problem: messageOf(error) });
      if (error instanceof ApiError && error.status === 401) this.props.signedOut();
    }
  }

  #change(how: (answer: Answer) => Answer): void {
    this.setState(({ answers }) => ({
      answers: answers.map((answer, index) => (index === answers.length - 1 ? how(answer) : answer)),
    }));
  }

  readonly #key = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) void this.#submit(event);
  };

  override render() {
    const { answers, stop, problem, said } = this.state;
    const own = ownModels(this.props.machines);
    const others = this.props.models.flatMap(({ id, metadata }) =>
      !own.includes(id) && (metadata?.routable_providers ?? 0) > 0 ? [id] : [],
    );
    const models = [...own, ...others];
    return (
      <section aria-labelledby="chat" class="chat">
        <div class="row">
          <h2 id="chat">Try it</h2>
          {answers.length > 0 && stop === undefined ? (
            <button type="button" class="small" onClick={() => this.setState({ answers: [], problem: undefined })}>
              New chat
            </button>
          ) : null}
        </div>
        <div class="log" ref={this.#log} tabIndex={0} role="region" aria-label="Conversation">
          {answers.length === 0 ? (
            <p class="empty">
              {own.length === 0 && others.length > 0
                ? 'Ask a model on a machine of another account. It is paid from your balance, and the conversation stays in this page.'
                : 'Ask a model on your own machine. It is free, and the conversation stays in this page.'}
            </p>
          ) : (
            answers.map((answer, index) => <AnswerItem key={index} answer={answer} />)
          )}
        </div>
        <p class="unseen" role="status">
          {said}
        </p>
        <Problem text={problem} />
        <form onSubmit={(event) => void this.#submit(event)}>
          <label for="prompt" class="unseen">
            Message
          </label>
          <textarea
            id="prompt"
            ref={this.#prompt}
            rows={2}
            maxLength={MAX_PROMPT_CHARACTERS}
            placeholder="Say something"
            onKeyDown={this.#key}
          />
          <div class="row">
            <label for="model" class="unseen">
              Model
            </label>
            <select id="model" ref={this.#model} disabled={models.length === 0}>
              {models.length === 0 ? <option value="">no model online</option> : null}
              {models.map((id) => (
                <option key={id} value={id}>
                  {others.includes(id) ? `${id} (paid)` : id}
                </option>
              ))}
            </select>
            {stop === undefined ? (
              <button type="submit" class="primary" disabled={models.length === 0}>
                Send
              </button>
            ) : (
              <button type="button" class="primary" onClick={() => stop.abort()}>
                Stop
              </button>
            )}
          </div>
        </form>
      </section>
    );
  }
}

function ownModels(machines: readonly Machine[]): string[] {
  return [...new Set(machines.flatMap(({ models }) => models.map(({ id }) => id)))];
}

function AnswerItem({ answer }: { answer: Answer }) {
  return (
    <>
      <p class="asked">
        <span class="unseen">You: </span>
        {answer.prompt}
      </p>
      <div class="answer">
        {answer.reasoning === '' ? null : (
          <details>
            <summary>Thinking</summary>
            <p>{answer.reasoning}</p>
          </details>
        )}
        <p>
          <span class="unseen">Model: </span>
          {answer.text}
        </p>
        <p class="facts">{answer.facts}</p>
      </div>
    </>
  );
}

function toMessages({ prompt, text }: Answer): ChatMessage[] {
  return text === ''
    ? []
    : [
        { role: 'user', content: prompt },
        { role: 'assistant', content: text },
      ];
}

/** How fast an answer comes, seen from here. */
class Meter {
  readonly #price: string;
  readonly #startedAt = performance.now();
  #firstAt: number | undefined;
  #lastAt = 0;
  #pieces = 0;
  #reason = 'stop';
  /** As the machine counts them; `undefined` before the end. */
  tokens: number | undefined;

  /** `price`: what it costs, in words. */
  constructor(price: string) {
    this.#price = price;
  }

  piece(): void {
    this.#lastAt = performance.now();
    this.#firstAt ??= this.#lastAt;
    this.#pieces++;
  }

  ended(reason: string): void {
    this.#reason = reason;
  }

  live(): string {
    const speed = this.#speed(this.#pieces);
    return [...(speed === undefined ? [] : [`${speed.toLocaleString('en')} tokens/s`]), this.#price].join(' · ');
  }

  whole(): string {
    const tokens = this.tokens ?? this.#pieces;
    const speed = this.#speed(tokens);
    const firstMs = this.#firstAt === undefined ? undefined : this.#firstAt - this.#startedAt;
    return [
      ...(this.#reason === 'length' ? ['cut at the length limit'] : []),
      `${tokens} tokens`,
      ...(speed === undefined ? [] : [`${speed.toLocaleString('en')} tokens/s`]),
      ...(firstMs === undefined ? [] : [`first word after ${duration(firstMs)}`]),
      this.#price,
    ].join(' · ');
  }

  /** From the first piece on, which is not counted itself. */
  #speed(tokens: number): number | undefined {
    const passedMs = this.#lastAt - (this.#firstAt ?? 0);
    return tokens > 1 && passedMs >= SHORTEST_MEASURE_MS ? Math.round(((tokens - 1) * 1_000) / passedMs) : undefined;
  }
}

function duration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
