import { call, type Session } from './api.js';
import { Command } from './copy.js';
import { Component, Fragment, h } from './preact.js';
import { isLoopback, messageOf, Problem, Words } from './words.js';

/** Who is signed in: exchanges the one-time code in the address, if there is one, and takes it out of the address.
 *  @throws ApiError */
export async function currentSession(): Promise<Session> {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  if (code === null) return call<Session>('/pages/session');
  history.replaceState(null, '', location.pathname + location.search);
  return call<Session>('/pages/session', { method: 'POST', body: { code } });
}

interface SignInProps {
  /** Why one has to sign in, when there is more to say. */
  notice: string | undefined;
  signedIn: (session: Session) => void;
}

export class SignIn extends Component<SignInProps, { problem?: string | undefined; busy?: boolean }> {
  readonly #submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = new FormData(form).get('token');
    this.setState({ busy: true, problem: undefined });
    try {
      this.props.signedIn(await call<Session>('/pages/session', { method: 'POST', body: { token } }));
    } catch (error) {
      this.setState({ problem: messageOf(error), busy: false });
    }
  };

  override render() {
    const { notice } = this.props;
    const { problem, busy } = this.state;
    return (
      <>
        <h1>Sign in</h1>
        {notice === undefined ? null : (
          <p role="status" class="notice">
            <Words text={notice} />
          </p>
        )}
        <p>On the machine that runs this coordinator:</p>
        <Command text="darkbloom-provider local --open" />
        <p class="or">
          <span>or</span>
        </p>
        <form onSubmit={(event) => void this.#submit(event)}>
          <label for="token">Login token</label>
          <input
            id="token"
            name="token"
            type="password"
            required
            autocomplete="off"
            spellcheck={false}
            aria-describedby="token-hint"
          />
          <p id="token-hint" class="hint">
            The owner’s is in the file <code>owner-token</code> of the coordinator’s home,{' '}
            <code>~/.darkbloom-provider</code>; other people have theirs from the owner.
            {isInClear() ? ' This connection is not encrypted: the token crosses the network in clear.' : ''}
          </p>
          <Problem text={problem} />
          <button type="submit" class="primary" disabled={busy === true}>
            Sign in
          </button>
        </form>
      </>
    );
  }
}

function isInClear(): boolean {
  return location.protocol === 'http:' && !isLoopback(location.hostname);
}
