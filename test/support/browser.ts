import { spawnSync } from 'node:child_process';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { environment } from '../../src/config.js';

const PROGRAM = 'chromium';

/** Whether there is a browser to see the pages with. */
export const HAS_CHROMIUM = spawnSync(PROGRAM, ['--version']).status === 0;

/** A real browser that can reach this machine alone. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = spawnSync('which', [PROGRAM], { encoding: 'utf8', env: environment }).stdout.trim();
  // Without its sandbox, since tests also run as root; it only ever shows our own pages.
  const onlyHere = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1';
  return chromium.launch({ executablePath, args: ['--no-sandbox', onlyHere] });
}

interface VisitOptions {
  width?: number;
  height?: number;
  dark?: boolean;
}

/** One person at the browser, with cookies of their own. What went wrong on the pages, and every address that they
 *  asked for, is kept. */
export class Visit implements AsyncDisposable {
  /** Errors and warnings of the console, exceptions, violations of the content security policy. */
  readonly complaints: string[] = [];
  readonly addresses: string[] = [];
  readonly #context: BrowserContext;
  readonly page: Page;

  private constructor(context: BrowserContext, page: Page) {
    this.#context = context;
    this.page = page;
    context.on('request', (request) => void this.addresses.push(request.url()));
    page.on('pageerror', (error) => void this.complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
  }

  static async start(
    browser: Browser,
    { width = 1280, height = 900, dark = false }: VisitOptions = {},
  ): Promise<Visit> {
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      locale: 'en-GB',
    });
    context.setDefaultTimeout(20_000);
    return new Visit(context, await context.newPage());
  }

  async cookies() {
    return this.#context.cookies();
  }

  /** A cookie as a server set it for this address. */
  async keepCookie(url: string, header: string): Promise<void> {
    const [name = '', value = ''] = header.split(';', 1)[0]?.split('=') ?? [];
    await this.#context.addCookies([{ url, name, value, httpOnly: true, sameSite: 'Strict' }]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
  }
}
