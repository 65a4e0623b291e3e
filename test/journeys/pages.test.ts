import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { browserCommand } from '../../src/cli/open-console.js';
import { environment } from '../../src/config.js';
import { MIGRATIONS } from '../../src/coordinator/migrations.js';
import { Database } from '../../src/database.js';
import { StartedCoordinator } from '../coordinator/started-coordinator.js';
import { HAS_CHROMIUM, openBrowser, Visit } from '../support/browser.js';
import { runCommand, RunningCommand } from '../support/command.js';
import { costly, sampled } from '../support/costly.js';
import { eventually } from '../support/eventually.js';
import { madeModel } from '../support/made-models.js';
import { RunningDaemon } from '../support/running-daemon.js';

/** So long that an answer does not end before it is stopped. */
const CONTEXT_TOKENS = 131_072;
const longModel = () =>
  madeModel('loop-long', ['--loop', '--ctx', String(CONTEXT_TOKENS), '--say', 'One two three four five six.']);

/** Chromium tells a refused request as an error of the page; only what a test provokes is expected. */
const REFUSED = (status: number) => expect.stringContaining(`status of ${status}`) as string;

describe.skipIf(!HAS_CHROMIUM)('in a browser (skipped where there is no chromium)', () => {
  let daemon: RunningDaemon;
  let browser: Browser;
  beforeAll(async () => {
    [daemon, browser] = await Promise.all([
      RunningDaemon.start({
        'models.files': { loop: longModel() },
        'engine.context_tokens': CONTEXT_TOKENS,
        'provider.serve_others': true,
      }),
      openBrowser(),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await daemon?.[Symbol.asyncDispose]();
  });

  /** Nobody complained but as expected, and nothing was asked of anybody else. */
  function expectQuiet(visit: Visit, expected: unknown[] = [], url = daemon.url): void {
    expect(visit.complaints).toEqual(expected);
    expect(visit.addresses.length).toBeGreaterThan(0);
    expect(visit.addresses.filter((address) => !address.startsWith(`${url}/`))).toEqual([]);
  }

  async function signIn(page: Page, url = daemon.url, token = daemon.ownerToken, path = '/'): Promise<void> {
    await page.goto(`${url}${path}`);
    await fillToken(page, token);
  }

  async function fillToken(page: Page, token: string): Promise<void> {
    await page.getByLabel('Login token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
  }

  /** Signed in already, without the form. */
  async function signedIn(options: Parameters<typeof Visit.start>[1] = {}): Promise<Visit> {
    const visit = await Visit.start(browser, options);
    const session = await daemon.call('POST', '/pages/session', {
      body: { token: daemon.ownerToken },
      headers: { origin: daemon.url },
    });
    await visit.keepCookie(daemon.url, session.headers.getSetCookie()[0] ?? '');
    await visit.page.goto(daemon.url);
    await visit.page.getByRole('button', { name: 'Sign out' }).waitFor();
    return visit;
  }

  const lastFacts = (page: Page) => page.locator('.answer .facts').last();

  costly('`local --open` leads to the console, signed in; its code is in no argument and works once', async () => {
    await using visit = await Visit.start(browser);
    const { page } = visit;
    const folder = mkdtempSync(join(tmpdir(), 'opener-'));
    const told = join(folder, 'told');
    writeFileSync(
      join(folder, 'xdg-open'),
      `#!/bin/sh\nprintf '%s\\n' "$@" > ${told}.part && mv ${told}.part ${told}\n`,
    );
    chmodSync(join(folder, 'xdg-open'), 0o755);
    await using command = new RunningCommand(['local', '--open'], daemon.home.folder, {
      PATH: `${folder}:${environment['PATH']}`,
    });
    await eventually('the opener was started', () => (existsSync(told) ? true : undefined));
    expect(readFileSync(told, 'utf8')).toBe(`${daemon.home.consoleLink}\n`);
    const link = readFileSync(daemon.home.consoleLink, 'utf8');
    const [address = ''] = /http:\/\/[^"]+#code=[\w-]+/u.exec(link) ?? [];

    await page.goto(pathToFileURL(daemon.home.consoleLink).href);
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    expect(page.url()).toBe(`${daemon.url}/`);
    expect(await command.ended()).toBe(0);
    expect(command.stdout).toContain('Signed in.');
    expect(command.stdout + command.stderr).not.toContain('code=');
    expect(existsSync(daemon.home.consoleLink)).toBe(false);
    const [cookie, ...others] = await visit.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', expires: -1 });
    rmSync(folder, { recursive: true });

    await using other = await Visit.start(browser);
    await other.page.goto(address);
    await other.page.getByText('This link was used already').waitFor();
    expect(other.page.url()).toBe(`${daemon.url}/`);
    expectQuiet(other, [REFUSED(401)]);
    expect(visit.complaints).toEqual([]);
  });

  test('a login token signs in, a wrong one and an API key do not; signing out ends the session at once', async () => {
    await using visit = await Visit.start(browser);
    const { page } = visit;
    await page.goto(daemon.url);
    for (const [token, words] of [
      ['nonsense', 'This is no login token'],
      [daemon.ownerKey, 'This key is for requests'],
    ] as const) {
      await page.getByLabel('Login token').fill(token);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').getByText(words).waitFor();
    }
    await signIn(page);
    const [cookie] = await visit.cookies();
    const asBefore = { headers: { cookie: `${cookie?.name}=${cookie?.value}` } };
    expect((await daemon.call('GET', '/v1/keys', asBefore)).status).toBe(200);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('Signed out.').waitFor();
    expect(await visit.cookies()).toEqual([]);
    expect((await daemon.call('GET', '/v1/keys', asBefore)).status).toBe(401);
    expectQuiet(visit, [REFUSED(401), REFUSED(403)]);
  });

  test('the chat streams, free, and Stop ends the answer on the machine too', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    const before = daemon.countRows();
    await page.getByLabel('Model', { exact: true }).selectOption('darkbloom-tiny-chat');
    await page.getByLabel('Message').fill('Hello, Darkbloom!');
    await page.getByLabel('Message').press('Enter');
    await expectText(
      lastFacts(page),
      /^\d+ tokens · ([\d,]+ tokens\/s · )?first word after [\d.]+ m?s · free: your own machine$/u,
    );
    expect(await page.locator('.answer > p').first().innerText()).toMatch(/\w+ \w+/u);
    expect(daemon.countRows()).toMatchObject({ usage: before.usage + 1, ledger: before.ledger });

    await page.getByLabel('Model', { exact: true }).selectOption('loop');
    await page.getByLabel('Message').fill('go');
    await page.getByRole('button', { name: 'Send' }).click();
    await expectText(lastFacts(page), /^[\d,]+ tokens\/s · free: your own machine$/u);
    await expectText(page.locator('#speed'), /[1-9]/u); // the figure over the page moves while it is written
    await page.getByRole('button', { name: 'Stop' }).click();
    await expectText(lastFacts(page), /^Stopped\.$/u);
    await page.getByRole('img', { name: /last minute, at most [1-9]/u }).waitFor();
    expect(await page.evaluate('document.documentElement.scrollHeight - document.body.offsetHeight')).toBe(0);
    await eventually('nothing runs', () => (daemon.daemon.requestsRunning === 0 ? true : undefined));
    expectQuiet(visit);
  });

  costly('what a person or a model writes is shown as text, never as HTML', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    const nasty = '<img src=x onerror="document.title=\'broken\'"><b>bold</b>';
    await page.getByLabel('Model', { exact: true }).selectOption('darkbloom-tiny-chat');
    await page.getByLabel('Message').fill(nasty);
    await page.getByRole('button', { name: 'Send' }).click();
    await expectText(lastFacts(page), /free: your own machine$/u);
    expect(await page.locator('.asked').innerText()).toContain(nasty);
    // an answer with markup, as a machine might send it
    await page.route('**/v1/chat/completions', (route) =>
      route.fulfill({
        contentType: 'text/event-stream',
        body: `data: ${JSON.stringify({ choices: [{ delta: { content: nasty } }] })}\n\ndata: [DONE]\n\n`,
      }),
    );
    await page.getByLabel('Message').fill('again');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('.answer').nth(1).getByText('<b>bold</b>').waitFor();
    expect(await page.locator('.log img, .log b').count()).toBe(0);
    expectQuiet(visit);
  });

  costly('who has no machine talks to those of others, and pays', async () => {
    const guest = await daemon.addAccount({ usd: 1, acceptUnattested: true });
    await using visit = await Visit.start(browser);
    const { page } = visit;
    await signIn(page, daemon.url, guest.loginToken);
    await page.getByText('It is paid from your balance').waitFor();
    const before = daemon.countRows();
    await page.getByLabel('Model', { exact: true }).selectOption({ label: 'darkbloom-tiny-chat (paid)' });
    await page.getByLabel('Message').fill('Hello, Darkbloom!');
    await page.getByRole('button', { name: 'Send' }).click();
    await expectText(lastFacts(page), /^\d+ tokens · .*paid: the machine of another account$/u);
    expect(daemon.countRows()).toMatchObject({ usage: before.usage + 1, open_holds: 0 });
    await page.getByText('$0.9999').waitFor(); // what is left of the balance
    expectQuiet(visit);
  });

  costly('a key is made, shown once, works, is disabled, enabled and deleted', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    await page.getByLabel('Name of a new key').fill('the editor');
    await page.getByRole('button', { name: 'Create' }).click();
    const secret = await page.getByRole('group', { name: 'New key' }).locator('code').innerText();
    expect(secret).toMatch(/^sk-db-[0-9a-f]{64}$/u);
    const status = async () => (await daemon.call('GET', '/v1/models', { token: secret })).status;
    expect(await status()).toBe(200);

    const limits = { limit_usd: 5, limit_reset: 'monthly', self_route_only: true, allowed_models: ['loop'] };
    await daemon.call('POST', '/v1/keys', { token: daemon.ownerToken, body: { name: 'the robot', ...limits } });
    await page.reload();
    await page.getByText('$0 of $5 monthly spent · your own machines alone · only loop').waitFor();
    const item = page.getByRole('listitem').filter({ hasText: 'the editor' });
    await item.getByText('made just now').waitFor();
    expect(await page.content()).not.toContain(secret);
    await item.getByRole('button', { name: 'Disable' }).click();
    await item.getByText('Disabled').waitFor();
    expect(await status()).toBe(401);
    await item.getByRole('button', { name: 'Enable' }).click();
    await item.getByRole('button', { name: 'Disable' }).waitFor();
    expect(await status()).toBe(200);
    await item.getByRole('button', { name: 'Delete the editor' }).click();
    await page.getByRole('button', { name: 'Delete the editor for good' }).click();
    await item.waitFor({ state: 'detached' });
    expect(await status()).toBe(401);
    expectQuiet(visit);
  });

  costly('the examples carry the key of this machine, hidden until one asks', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    const section = page.getByRole('region', { name: 'From your own program' });
    await section.getByText(daemon.baseUrl, { exact: true }).waitFor();
    expect(await section.innerText()).not.toContain(daemon.ownerKey);
    await section.getByRole('button', { name: 'Show the key' }).click();
    const code = section.locator('pre');
    await expectText(code, new RegExp(daemon.ownerKey, 'u'));
    await section.getByLabel('Shell').check();
    await expectText(code, /^curl -X POST /u);
    expectQuiet(visit);
  });

  costly('a code of a machine is approved on /link, however it is typed', async () => {
    await using visit = await Visit.start(browser);
    const { page } = visit;
    await signIn(page, daemon.url, daemon.ownerToken, '/link');
    const Code = z.object({ device_code: z.string(), user_code: z.string() });
    const { device_code, user_code } = Code.parse((await daemon.call('POST', '/v1/device/code')).json);
    await page.getByLabel('The code that it shows').fill('AAAA-2222');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('alert').getByText('This code is not known').waitFor();
    await page.getByLabel('The code that it shows').fill(` ${user_code.toLowerCase().replace('-', '')}`);
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByText(`${user_code} is approved.`).waitFor();
    expect((await daemon.call('POST', '/v1/device/token', { body: { device_code } })).json).toMatchObject({
      status: 'authorized',
    });
    expectQuiet(visit, [REFUSED(404)]);
  });

  costly('with the keyboard alone: every control is reached, seen and left, and a question is asked', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    await page.getByText('In memory').or(page.getByText('On disk')).first().waitFor();
    await page.getByRole('region', { name: 'From your own program' }).locator('pre').waitFor();
    await page.evaluate('document.activeElement.blur()');
    const stops: string[] = [];
    for (;;) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(FOCUSED);
      const { name, visible } = z.object({ name: z.string(), visible: z.boolean() }).nullable().parse(stop) ?? {
        name: '',
        visible: true,
      };
      if (name === '' || stops.includes(name)) break;
      expect({ name, visible }).toEqual({ name, visible: true });
      stops.push(name);
      expect(stops.length).toBeLessThan(60);
    }
    const inOrder = [
      'Skip to the content',
      'Console',
      'Link a machine',
      'Sign out',
      'Conversation',
      'Message',
      'Model',
      'Send',
    ];
    expect(stops.filter((stop) => inOrder.includes(stop))).toEqual(inOrder);
    const reachable = await page.evaluate(CONTROLS);
    expect(
      z
        .array(z.string())
        .parse(reachable)
        .filter((name) => !stops.includes(name)),
    ).toEqual([]);

    await page.reload();
    await page.locator('select:enabled').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter'); // skips to the content
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.id')).toBe('prompt');
    await page.keyboard.type('Hello, Darkbloom!');
    await page.keyboard.press('Enter');
    await expectText(lastFacts(page), /free: your own machine$/u);
    expect(await page.evaluate('document.activeElement.id')).toBe('prompt');
    expectQuiet(visit);
  });

  costly('a paused machine says so, with the way to resume', async () => {
    await using visit = await signedIn();
    const { page } = visit;
    const machines = page.getByRole('region', { name: 'Machines', exact: true });
    await machines.getByText(/^(Ready|Busy)$/u).waitFor();
    await daemon.daemon.pause();
    await machines.getByText('Paused', { exact: true }).waitFor();
    await machines.getByText('darkbloom-provider resume').waitFor();
    await page.getByLabel('Message').fill('Hello');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByRole('alert').getByText('Your machine is paused or stopping').waitFor();
    await daemon.daemon.resume();
    await machines.getByText(/^(Ready|Busy)$/u).waitFor();
    expectQuiet(visit, [REFUSED(503)]);
  });

  costly('without machines, requests and keys the console says what to do; a session that ends, too', async () => {
    await using house = await StartedCoordinator.start();
    const { url } = house.coordinator;
    await using visit = await Visit.start(browser);
    const { page } = visit;
    await signIn(page, url, house.ownerToken);
    for (const words of [
      'No machine online.',
      'The page “Link a machine” says how.',
      'No model yet.',
      'No request in this time.',
      'No key yet.',
    ]) {
      await page.getByText(words).first().waitFor();
    }
    expect(await page.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true);
    expectQuiet(visit, [], url);
    house.clock.turn(24 * 60 * 60_000);
    await page.getByText('Your session has ended').waitFor();
    expect(visit.complaints.every((text) => text.includes('status of 401'))).toBe(true);
  });

  test('screenshots: both pages, light and dark, phone and desktop; nothing is wider than the screen', async () => {
    fillBooks(daemon);
    const folder = mkdtempSync(join(tmpdir(), 'darkbloom-pages-'));
    const looks = [false, true].flatMap((dark) => [390, 1280].map((width) => ({ dark, width })));
    for (const { dark, width } of sampled(looks)) {
      await using visit = await Visit.start(browser, { width, height: width < 500 ? 844 : 900, dark });
      const { page } = visit;
      const shoot = async (name: string) => {
        await page.screenshot({
          path: join(folder, `${name}-${dark ? 'dark' : 'light'}-${width}.png`),
          fullPage: true,
        });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      };
      await page.goto(daemon.url);
      await page.getByLabel('Login token').waitFor();
      await shoot('sign-in');
      await fillToken(page, daemon.ownerToken);
      await page.getByRole('region', { name: 'From your own program' }).locator('pre').waitFor();
      await page.getByRole('img', { name: /requests,/u }).waitFor();
      await page.getByLabel('Model', { exact: true }).selectOption('darkbloom-tiny-chat');
      await page.getByLabel('Message').fill('Hello, Darkbloom!');
      await page.getByLabel('Message').press('Enter');
      await expectText(lastFacts(page), /first word/u);
      await shoot('console');
      await page.goto(`${daemon.url}/link`);
      await page.getByLabel('The code that it shows').waitFor();
      await shoot('link');
      expectQuiet(visit);
    }
    if (environment['DARKBLOOM_KEEP_SCREENSHOTS'] === undefined) rmSync(folder, { recursive: true });
    else process.stdout.write(`screenshots: ${folder}\n`);
  });
});

/** Waits until the element's text is so. */
async function expectText(element: ReturnType<Page['locator']>, pattern: RegExp): Promise<void> {
  await element.filter({ hasText: pattern }).waitFor();
}

/** What has the focus, as a person would call it, and whether one sees it. */
const FOCUSED = `(() => {
  const element = document.activeElement;
  if (element === null || element === document.body) return null;
  const shown = element.matches('.choice input') ? element.nextElementSibling : element;
  return { name: (${nameOf.toString()})(element), visible: getComputedStyle(shown).outlineStyle !== 'none' };
})()`;

/** All that can be operated; of a group of radio buttons the chosen one alone takes the focus. */
const CONTROLS = `[...document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea, summary')]
  .filter((element) => element.type !== 'radio' || element.checked)
  .filter((element) => element.checkVisibility())
  .map(${nameOf.toString()})`;

/** Runs in the page. */
function nameOf(element: {
  id: string;
  textContent: string;
  getAttribute: (name: string) => string | null;
  labels?: Iterable<{ textContent: string }>;
}): string {
  const label = [...(element.labels ?? [])].map(({ textContent }) => textContent).join(' ');
  return (
    (element.getAttribute('aria-label') ?? (label || element.textContent)).replace(/\\s+/gu, ' ').trim() || element.id
  );
}

/** A month of requests, the newest today. */
function fillBooks({ home }: RunningDaemon): void {
  const database = new Database(home.database, MIGRATIONS);
  const Owner = z.object({ id: z.string() });
  const { id } = Owner.parse(database.get('SELECT id FROM accounts WHERE is_owner = 1'));
  const sizes = [14, 9, 0, 22, 31, 18, 4, 27, 40, 12, 6, 0, 3, 19, 25, 33, 21, 11, 2, 29];
  database.transaction(() => {
    for (const [index, size] of sizes.entries()) {
      if (size === 0) continue;
      database.run(
        `INSERT INTO usage (request_id, account_id, key_id, alias, build, provider_id, provider_account_id,
           prompt_tokens, completion_tokens, cost_micro_usd, route_mode, free_self_route, created_at)
         VALUES (?, ?, NULL, 'loop', 'local/loop', 'p', ?, ?, ?, 0, 'self', 1, ?)`,
        `made-${index}`,
        id,
        id,
        size * 310,
        size * 120,
        Date.now() - index * 20 * 60 * 60_000,
      );
    }
  });
  database.close();
}

test('in linked mode `local --open` says where the console is; `--open` and `--json` do not go together', async () => {
  const coordinator = 'http://127.0.0.1:9'; // nobody there: the machine serves its owner meanwhile
  await using linked = await RunningDaemon.start({ 'coordinator.url': coordinator });
  const { folder, config } = linked.home;
  writeFileSync(config, `[coordinator]\nurl = "${coordinator}"\n`);
  const ended = await runCommand(['local', '--open'], folder);
  expect(ended.code).toBe(65);
  expect(ended.stderr).toContain(`linked to ${coordinator}: the console is there`);
  expect((await runCommand(['local', '--open', '--json'], folder)).code).toBe(64);
});

test.each<[NodeJS.Platform, string]>([
  ['darwin', '/usr/bin/open'],
  ['linux', 'xdg-open'],
])('on %s a file is opened with %s', (platform, command) => {
  expect(browserCommand(platform)).toBe(command);
});
