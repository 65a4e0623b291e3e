import { ApiError, call, type ApiKey } from './api.js';
import { CopyButton } from './copy.js';
import { Badge, Dim } from './live.js';
import { Component, createRef, h } from './preact.js';
import { ago, messageOf, Problem } from './words.js';

interface KeysProps {
  signedOut: () => void;
}

interface KeysState {
  keys?: ApiKey[];
  /** The secret of the key that was just made: shown until it is hidden, and never again. */
  made?: { secret: string; label: string } | undefined;
  /** The key that is about to be deleted. */
  deleting?: string | undefined;
  problem?: string | undefined;
}

export class Keys extends Component<KeysProps, KeysState> {
  override state: KeysState = {};
  readonly #heading = createRef<HTMLHeadingElement>();
  readonly #made = createRef<HTMLDivElement>();

  override componentDidMount(): void {
    void this.#do(() => this.#read());
  }

  async #read(): Promise<void> {
    this.setState({ keys: (await call<{ data: ApiKey[] }>('/v1/keys')).data });
  }

  /** What fails is told in the section. */
  async #do(what: () => Promise<void>): Promise<void> {
    this.setState({ problem: undefined });
    try {
      await what();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.props.signedOut();
      this.setState({ problem: messageOf(error) });
    }
  }

  readonly #create = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const name = new FormData(form).get('name');
    void this.#do(async () => {
      const { key: secret, data } = await call<{ key: string; data: ApiKey }>('/v1/keys', {
        method: 'POST',
        body: { name },
      });
      form.reset();
      this.setState({ made: { secret, label: data.label } });
      this.#made.current?.focus();
      await this.#read();
    });
  };

  #setDisabled(key: ApiKey, disabled: boolean): void {
    void this.#do(async () => {
      await call(`/v1/keys/${key.id}`, { method: 'PATCH', body: { disabled } });
      await this.#read();
    });
  }

  #delete(key: ApiKey): void {
    void this.#do(async () => {
      await call(`/v1/keys/${key.id}`, { method: 'DELETE' });
      this.setState({ deleting: undefined });
      this.#heading.current?.focus(); // the button that was pressed is gone
      await this.#read();
    });
  }

  override render() {
    const { keys, made, problem } = this.state;
    return (
      <section aria-labelledby="keys">
        <h2 id="keys" ref={this.#heading} tabIndex={-1}>
          Keys
        </h2>
        <p class="dim">A key lets a program send requests. Give each program its own, so that one can go alone.</p>
        {made === undefined ? null : (
          <div class="made" ref={this.#made} tabIndex={-1} role="group" aria-label="New key">
            <p>
              <strong>Copy the key now.</strong> It is shown only this once; the coordinator keeps its hash alone.
            </p>
            <code class="secret">{made.secret}</code>
            <div class="row start">
              <CopyButton text={made.secret} what="the new key" />
              <button type="button" class="small" onClick={() => this.setState({ made: undefined })}>
                I have it, hide it
              </button>
            </div>
          </div>
        )}
        <Problem text={problem} />
        {keys === undefined ? <p class="dim">Asking …</p> : this.#list(keys)}
        <form class="inline" onSubmit={this.#create}>
          <label for="key-name">Name of a new key</label>
          <div class="row">
            <input
              id="key-name"
              name="name"
              required
              maxLength={100}
              autocomplete="off"
              placeholder="editor on the laptop"
            />
            <button type="submit">Create</button>
          </div>
        </form>
      </section>
    );
  }

  #list(keys: readonly ApiKey[]) {
    if (keys.length === 0) return <p class="empty">No key yet.</p>;
    return <ul class="plain">{keys.map((key) => this.#item(key))}</ul>;
  }

  #item(key: ApiKey) {
    const name = key.name === '' ? 'unnamed' : key.name;
    return (
      <li key={key.id} class="item key">
        <div>
          <div class="row start">
            <strong>{name}</strong>
            {key.disabled ? <Badge word="Disabled" tone="warn" /> : null}
          </div>
          <p class="dim">
            <code>{key.label}</code> · made {ago(key.created_at)} ·{' '}
            {key.last_used_at === undefined ? 'never used' : `used ${ago(key.last_used_at)}`}
          </p>
          <Dim text={limitsOf(key)} />
        </div>
        {this.state.deleting === key.id ? (
          <div class="row start" role="group" aria-label={`Delete ${name}?`}>
            <span>Programs that use it stop working at once.</span>
            <button type="button" class="small danger" onClick={() => this.#delete(key)}>
              Delete<span class="unseen"> {name} for good</span>
            </button>
            <button type="button" class="small" ref={focusOnce} onClick={() => this.setState({ deleting: undefined })}>
              Keep
            </button>
          </div>
        ) : (
          <div class="row start">
            <button type="button" class="small" onClick={() => this.#setDisabled(key, !key.disabled)}>
              {key.disabled ? 'Enable' : 'Disable'}
              <span class="unseen"> {name}</span>
            </button>
            <button type="button" class="small" onClick={() => this.setState({ deleting: key.id })}>
              Delete<span class="unseen"> {name}</span>
            </button>
          </div>
        )}
      </li>
    );
  }
}

/** What a key is held to; nothing for one that may do all. */
function limitsOf(key: ApiKey): string {
  const window = key.limit_reset === 'none' ? '' : ` ${key.limit_reset}`;
  return [
    ...(key.limit_usd === undefined ? [] : [`$${key.usage_usd} of $${key.limit_usd}${window} spent`]),
    ...(key.self_route_only ? ['your own machines alone'] : []),
    ...(key.allowed_models === undefined ? [] : [`only ${key.allowed_models.join(', ')}`]),
    ...(key.expires_at === undefined ? [] : [`until ${new Date(key.expires_at).toLocaleString('en-GB')}`]),
  ].join(' · ');
}

/** The safe answer to a question has the focus when the question appears. */
function focusOnce(button: HTMLButtonElement | null): void {
  button?.focus();
}
