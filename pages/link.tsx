import { ApiError, call } from './api.js';
import { Command } from './copy.js';
import { Component, h, render } from './preact.js';
import { SignedIn } from './signed-in.js';
import { addressForOthers, isLoopback, messageOf, Problem, Words } from './words.js';

interface LinkState {
  approved?: string | undefined;
  problem?: string | undefined;
  busy?: boolean;
}

/** Approves the code that a machine shows. */
class LinkPage extends Component<{ signedOut: () => void }, LinkState> {
  override state: LinkState = {};

  readonly #submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const code = asCode(new FormData(form).get('code'));
    this.setState({ busy: true, problem: undefined, approved: undefined });
    try {
      await call('/v1/device/approve', { method: 'POST', body: { user_code: code } });
      form.reset();
      this.setState({ approved: code, busy: false });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.props.signedOut();
      this.setState({ problem: messageOf(error), busy: false });
    }
  };

  override render() {
    const { approved, problem, busy } = this.state;
    return (
      <div class="narrow">
        <h1>Link a machine</h1>
        <p>On the machine that shall serve this coordinator:</p>
        <Command text={`darkbloom-provider link ${addressForOthers(location)}`} />
        {isLoopback(location.hostname) ? (
          <p class="hint">
            <Words
              text={
                'ADDRESS is the name or address of this machine in your network. To be reached there it needs ' +
                '`darkbloom-provider config set http.host 0.0.0.0` and a restart.'
              }
            />
          </p>
        ) : null}
        <form onSubmit={(event) => void this.#submit(event)}>
          <label for="code">The code that it shows</label>
          <input
            id="code"
            name="code"
            class="code-input"
            required
            maxLength={20}
            autocomplete="off"
            autocapitalize="characters"
            spellcheck={false}
            placeholder="ABCD-2345"
            aria-describedby="code-hint"
          />
          <p id="code-hint" class="hint">
            Approve only a code that you see on a machine of yours: it will answer your requests and read them.
          </p>
          <Problem text={problem} />
          <button type="submit" class="primary" disabled={busy === true}>
            Approve
          </button>
        </form>
        <div role="status">
          {approved === undefined ? null : (
            <p class="done">
              <strong>{approved} is approved.</strong>{' '}
              <Words text="The machine is linked. Start it with `darkbloom-provider start`; then it appears on the console." />
            </p>
          )}
        </div>
      </div>
    );
  }
}

/** Lower case, spaces and a missing dash are no mistakes. */
function asCode(typed: FormDataEntryValue | null): string {
  const symbols = (typeof typed === 'string' ? typed : '').toUpperCase().replace(/[^A-Z0-9]/gu, '');
  return symbols.length === 8 ? `${symbols.slice(0, 4)}-${symbols.slice(4)}` : symbols;
}

const page = document.getElementById('page');
if (page !== null) {
  page.replaceChildren();
  render(<SignedIn here="link" page={(signedOut) => <LinkPage signedOut={() => signedOut()} />} />, page);
}
