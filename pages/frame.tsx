import { call, type Session } from './api.js';
import { h, type ComponentChildren } from './preact.js';

interface FrameProps {
  session: Session;
  /** Which of the two pages this is. */
  here: 'console' | 'link';
  signedOut: (notice: string) => void;
  children: ComponentChildren;
}

/** What stands around a page that one is signed in to. */
export function Frame({ session, here, signedOut, children }: FrameProps) {
  const signOut = async () => {
    try {
      await call('/pages/session', { method: 'DELETE' });
      signedOut('Signed out.');
    } catch {
      signedOut('The coordinator did not answer: the session ends there by itself after two hours.');
    }
  };
  return (
    <div class="frame">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header>
        <a class="brand" href="/">
          <img src="/pages/icon.svg" alt="" width="22" height="22" />
          Darkbloom
        </a>
        <nav aria-label="Pages">
          <a href="/" aria-current={here === 'console' ? 'page' : undefined}>
            Console
          </a>
          <a href="/link" aria-current={here === 'link' ? 'page' : undefined}>
            Link a machine
          </a>
        </nav>
        <div class="who">
          <span class="dim">{session.account}</span>
          <button type="button" class="small" onClick={() => void signOut()}>
            Sign out
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

/** What stands around signing in. */
export function Card({ children }: { children: ComponentChildren }) {
  return (
    <main class="narrow">
      <p class="brand">
        <img src="/pages/icon.svg" alt="" width="22" height="22" />
        Darkbloom
      </p>
      {children}
    </main>
  );
}
