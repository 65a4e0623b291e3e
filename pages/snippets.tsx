import { ApiError, call, type Snippets } from './api.js';
import { CopyButton } from './copy.js';
import { Component, h } from './preact.js';
import { messageOf, Problem } from './words.js';

const MASK = '••••••••••••••••';

interface SnippetProps {
  /** What the examples ask. */
  model: string | undefined;
  signedOut: () => void;
}

interface SnippetState {
  shown?: Snippets;
  chosen: number;
  keyShown: boolean;
  problem?: string | undefined;
}

/** Address, key and examples. The key is hidden until it is asked for; copying takes it along. */
export class SnippetSection extends Component<SnippetProps, SnippetState> {
  override state: SnippetState = { chosen: 0, keyShown: false };

  override componentDidMount(): void {
    void this.#read();
  }

  override componentDidUpdate(before: SnippetProps): void {
    if (before.model !== this.props.model) void this.#read();
  }

  async #read(): Promise<void> {
    const { model } = this.props;
    const query = model === undefined ? '' : `?model=${encodeURIComponent(model)}`;
    try {
      this.setState({ shown: await call<Snippets>(`/pages/snippets${query}`), problem: undefined });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.props.signedOut();
      this.setState({ problem: messageOf(error) });
    }
  }

  override render() {
    const { shown, problem } = this.state;
    return (
      <section aria-labelledby="snippets">
        <h2 id="snippets">From your own program</h2>
        <Problem text={problem} />
        {shown === undefined ? <p class="dim">Asking …</p> : this.#examples(shown)}
      </section>
    );
  }

  #examples({ base_url: baseUrl, api_key: key, snippets }: Snippets) {
    const { chosen, keyShown } = this.state;
    const code = snippets[chosen]?.code ?? '';
    const visible = key === undefined || keyShown ? code : code.replaceAll(key, MASK);
    return (
      <div>
        <dl class="facts-list">
          <div>
            <dt>Base URL</dt>
            <dd>
              <code>{baseUrl}</code>
              <CopyButton text={baseUrl} what="the base URL" />
            </dd>
          </div>
          <div>
            <dt>Key</dt>
            <dd>
              {key === undefined ? (
                <span>Make a key, and put it where YOUR_KEY stands.</span>
              ) : (
                <code class="secret">{keyShown ? key : MASK}</code>
              )}
              {key === undefined ? null : (
                <span class="row start">
                  <button
                    type="button"
                    class="small"
                    aria-pressed={keyShown}
                    onClick={() => this.setState({ keyShown: !keyShown })}
                  >
                    {keyShown ? 'Hide' : 'Show'}
                    <span class="unseen"> the key</span>
                  </button>
                  <CopyButton text={key} what="the key" />
                </span>
              )}
            </dd>
          </div>
        </dl>
        <div class="row">
          <fieldset class="choice">
            <legend class="unseen">Language</legend>
            {snippets.map(({ title }, index) => (
              <label key={title}>
                <input
                  type="radio"
                  name="snippet"
                  checked={index === chosen}
                  onChange={() => this.setState({ chosen: index })}
                />
                <span>{title}</span>
              </label>
            ))}
          </fieldset>
          <CopyButton text={code} what="the example with the key" />
        </div>
        <pre class="code" tabIndex={0} aria-label={`Example: ${snippets[chosen]?.title ?? ''}`}>
          {visible}
        </pre>
      </div>
    );
  }
}
