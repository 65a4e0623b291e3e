import { Component, h } from './preact.js';

const SAID_FOR_MS = 2_000;

interface CopyProps {
  text: string;
  /** What is copied, for who cannot see where the button stands. */
  what: string;
}

/** Copies a text. Over plain HTTP on another name than loopback a browser has no clipboard: the button says so. */
export class CopyButton extends Component<CopyProps, { said?: string | undefined }> {
  #timer: number | undefined;

  override componentWillUnmount(): void {
    clearTimeout(this.#timer);
  }

  readonly #copy = async (): Promise<void> => {
    const clipboard = navigator.clipboard as Clipboard | undefined;
    const said = await (clipboard === undefined
      ? 'Select and copy by hand'
      : clipboard.writeText(this.props.text).then(
          () => 'Copied',
          () => 'Not allowed here',
        ));
    this.setState({ said });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.setState({ said: undefined }), SAID_FOR_MS);
  };

  override render() {
    return (
      <button type="button" class="small" onClick={() => void this.#copy()}>
        <span aria-live="polite">{this.state.said ?? 'Copy'}</span>
        <span class="unseen"> {this.props.what}</span>
      </button>
    );
  }
}

/** Something to type in a terminal. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <pre>{text}</pre>
      <CopyButton text={text} what="the command" />
    </div>
  );
}
