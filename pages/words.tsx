import { Fragment, h } from './preact.js';

/** Our own sentences: what stands between backticks is something to type. */
export function Words({ text }: { text: string }) {
  return <>{text.split('`').map((part, index) => (index % 2 === 0 ? part : <code key={index}>{part}</code>))}</>;
}

/** Something that went wrong; read out at once. */
export function Problem({ text }: { text: string | undefined }) {
  return (
    <div role="alert">
      {text === undefined ? null : (
        <p class="problem">
          <Words text={text} />
        </p>
      )}
    </div>
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What another machine dials. Nobody else reaches this one by the loopback address that a person may stand on. */
export function addressForOthers({ hostname, protocol, port, origin }: Location): string {
  return isLoopback(hostname) ? `${protocol}//ADDRESS:${port}` : origin;
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** `just now`, `5 min ago`, `3 h ago`, `2 days ago`. */
export function ago(time: string, now = Date.now()): string {
  const passed = now - Date.parse(time);
  if (passed < MINUTE_MS) return 'just now';
  if (passed < HOUR_MS) return `${Math.floor(passed / MINUTE_MS)} min ago`;
  if (passed < DAY_MS) return `${Math.floor(passed / HOUR_MS)} h ago`;
  return counted(Math.floor(passed / DAY_MS), 'day') + ' ago';
}

/** `1 request`, `1,204 requests`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
