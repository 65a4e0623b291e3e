import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { environment, homeAt, loadSettings } from '../../config.js';
import { Daemon } from '../../daemon.js';
import { DarkbloomError } from '../../errors.js';
import { silentLog } from '../../log.js';
import { watchAncestors } from '../../util/ancestors.js';
import { systemClock } from '../../util/clock.js';
import { callCoordinator } from '../coordinator-client.js';
import { sendDemoRequest, type DemoResult } from '../demo-request.js';
import { snippets } from '../../util/snippets.js';
import { listenForStop } from '../stopping.js';
import { print, printDone, printPiece, style } from '../style.js';
import { readFileIfPresent } from '../../util/files.js';

const MODEL = 'darkbloom-tiny-chat';
const PROMPT = 'Hello, Darkbloom!';

interface DemoFlags {
  once?: true;
  prompt: string;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('coordinator, provider and a tiny model on this machine; one request goes the whole way')
    .option('--once', 'end after the answer; the last line is one JSON object')
    .option('--prompt <text>', 'what to ask', PROMPT)
    .addHelpText(
      'after',
      `
Everything lives in a temporary folder and on a free loopback port; nothing is installed, nothing leaves this machine.

Examples:
  $ darkbloom-provider demo
  $ darkbloom-provider demo --once --prompt "Count to 5"`,
    )
    .action(demo);
}

async function demo({ once, prompt }: DemoFlags): Promise<void> {
  if (prompt === '') throw new DarkbloomError('usage', '--prompt must not be empty.');
  const folder = mkdtempSync(join(tmpdir(), 'darkbloom-demo-'));
  const stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() => stopped.abort());
  using _watch = watchAncestors(systemClock, () => stopped.abort());
  process.stdout.on('error', () => stopped.abort()); // the reader of our output is gone
  try {
    await runDemo(folder, prompt, once === true, stopped.signal, () => stopped.abort());
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
    process.exitCode = 130;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runDemo(
  folder: string,
  prompt: string,
  once: boolean,
  stopped: AbortSignal,
  stopAsked: () => void,
): Promise<void> {
  const home = homeAt(folder);
  const settings = loadSettings(home, {}, { 'http.port': 0 });
  print(`${style.bold('Darkbloom demo')}: a coordinator and a provider on this machine, over a real socket, encrypted`);
  const daemon = await Daemon.start({ home, settings, env: environment, log: silentLog(), stopAsked });
  try {
    const { base_url: baseUrl } = daemon.record;
    printDone(`coordinator on ${baseUrl}`);
    printDone('provider registered, its challenge answered');
    const apiKey = await mintKey(baseUrl, readFileIfPresent(home.ownerToken)?.trim() ?? '');
    printDone('API key made');
    print();
    print(`${style.dim('you')}    ${prompt}`);
    process.stdout.write(`${style.dim('model')}  `);
    const result = await sendDemoRequest({
      baseUrl,
      apiKey,
      model: MODEL,
      prompt,
      signal: stopped,
      onText: printPiece,
    });
    print();
    print();
    printFacts(result);
    if (once) {
      print(JSON.stringify(result));
      return;
    }
    print(`\nTry it from your own program, while this runs:\n`);
    print(snippets({ baseUrl, apiKey, model: MODEL }));
    print('Ctrl-C ends the demo and deletes its folder.');
    if (!stopped.aborted) await new Promise<void>((resolve) => stopped.addEventListener('abort', () => resolve()));
  } finally {
    await daemon.close();
  }
}

async function mintKey(baseUrl: string, ownerToken: string): Promise<string> {
  const coordinatorUrl = baseUrl.replace(/\/v1$/u, '');
  const answer = await callCoordinator(coordinatorUrl, {
    method: 'POST',
    path: '/v1/keys',
    token: ownerToken,
    body: { name: 'demo' },
  });
  return String(answer['key']);
}

function printFacts(result: DemoResult): void {
  const { route, encrypted, ttft_ms, tokens_per_second, prompt_tokens, completion_tokens, cost_micro_usd } = result;
  printDone(`route ${route}, ${encrypted ? 'sealed end to end' : 'NOT sealed'}, cost ${cost_micro_usd} µUSD`);
  printDone(
    `${prompt_tokens} tokens in, ${completion_tokens} out; first text after ${ttft_ms} ms (the model was loaded for it), ` +
      `then ${tokens_per_second} tokens/s`,
  );
}
