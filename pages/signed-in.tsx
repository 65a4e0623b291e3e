import type { Session } from './api.js';
import { Card, Frame } from './frame.js';
import { Component, Fragment, h, type ComponentChildren } from './preact.js';
import { currentSession, SignIn } from './sign-in.js';
import { messageOf, Words } from './words.js';

interface SignedInProps {
  here: 'console' | 'link';
  /** What is shown to who is signed in. */
  page: (signedOut: (notice?: string) => void) => ComponentChildren;
}

type State = { step: 'asking' } | { step: 'out'; notice: string | undefined } | { step: 'in'; session: Session };

const ENDED = 'Your session has ended: the coordinator was restarted, or it was not used for a while.';

/**
 *   asking ──▶ out ──signed in──▶ in ──signed out, ended──▶ out
 *      └──────────────────────────▲
 */
export class SignedIn extends Component<SignedInProps, State> {
  override state: State = { step: 'asking' };

  override componentDidMount(): void {
    this.#look();
    window.addEventListener('hashchange', this.#look); // a one-time address opened in the same tab
  }

  override componentWillUnmount(): void {
    window.removeEventListener('hashchange', this.#look);
  }

  readonly #look = (): void => void this.#ask();

  async #ask(): Promise<void> {
    const withCode = location.hash.startsWith('#code=');
    if (this.state.step !== 'asking' && !withCode) return;
    try {
      const session = await currentSession();
      this.setState(session.signed_in ? { step: 'in', session } : { step: 'out', notice: undefined });
    } catch (error) {
      this.setState({ step: 'out', notice: messageOf(error) });
    }
  }

  readonly #signedOut = (notice = ENDED): void => this.setState({ step: 'out', notice });

  override render() {
    const { state } = this;
    switch (state.step) {
      case 'asking':
        return (
          <Card>
            <p class="dim" role="status">
              Asking who you are …
            </p>
          </Card>
        );
      case 'out':
        return (
          <Card>
            <SignIn notice={state.notice} signedIn={(session) => this.setState({ step: 'in', session })} />
          </Card>
        );
      case 'in':
        return (
          <Frame session={state.session} here={this.props.here} signedOut={this.#signedOut}>
            {this.props.page(this.#signedOut)}
          </Frame>
        );
      default:
        return state satisfies never;
    }
  }
}

/** A line over the page while the coordinator does not answer. */
export function NoAnswer({ problem }: { problem: string | undefined }) {
  return (
    <div role="status">
      {problem === undefined ? null : (
        <p class="problem">
          <Words text={problem} /> <>This page asks again every few seconds; what it shows is old.</>
        </p>
      )}
    </div>
  );
}
