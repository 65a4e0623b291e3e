import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { environment, findHome } from '../../config.js';
import { DarkbloomError, systemErrorCode } from '../../errors.js';
import { inWords } from '../../util/byte-words.js';
import { writeNewPrivateFile } from '../../util/files.js';
import { printJson } from '../json-output.js';
import { makeReport, reportText, type ReportOutput } from '../report.js';
import { print, printDone } from '../style.js';

interface ReportFlags {
  out?: string;
  doctor?: true;
  yes?: true;
  json?: true;
}

export function reportCommand(): Command {
  return new Command('report')
    .description('gather what a bug report needs, show it, and write it to a file if you agree')
    .option('--out <file>', 'where to write it (darkbloom-report-DATE.json in this folder)')
    .option('--doctor', 'with the checks of `doctor` and a request of one token: both load a model')
    .option('--yes', 'write it without asking')
    .option('--json', 'only print it, as one JSON object')
    .addHelpText(
      'after',
      `
Nothing is uploaded: it stays on this machine. It holds version, kind of
machine, settings, status, the last lines of the log, and names and sizes of
the files in the home. Keys, tokens, prompts, answers and serial numbers are
not in it; names of user and machine, IP addresses, paths of model files and
of the user's home are replaced. Read it before you pass it on.
Without a terminal it is only shown, unless you say --yes.

Examples:
  $ darkbloom-provider report
  $ darkbloom-provider report --doctor --out /tmp/report.json --yes`,
    )
    .action(report);
}

async function report({ out, doctor, yes, json }: ReportFlags): Promise<void> {
  const home = findHome(environment);
  if (json === true) {
    if (out !== undefined || yes === true)
      throw new DarkbloomError('usage', '--json only prints: leave --out and --yes out.');
    printJson<ReportOutput>(await makeReport(home, { doctor: doctor === true }));
    return;
  }
  const path = resolve(out ?? `darkbloom-report-${new Date().toISOString().slice(0, 10)}.json`);
  if (existsSync(path)) throw exists(path);
  process.stderr.write(doctor === true ? 'Gathering, and running the checks of doctor …\n' : 'Gathering …\n');
  const text = reportText(await makeReport(home, { doctor: doctor === true }));
  print(text.trimEnd());
  if (yes !== true && !(await agrees(path))) {
    process.stderr.write('Nothing was written, nothing was sent.\n');
    return;
  }
  write(path, text);
  printDone(`${path}, ${inWords(Buffer.byteLength(text))}, for you alone to read. Nothing was sent anywhere.`);
}

async function agrees(path: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    process.stderr.write('Nobody can be asked here: --yes writes it to a file.\n');
    return false;
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  reader.setPrompt(`This is all of it. Write it to ${path}? Nothing is sent. [y/N] `);
  reader.prompt();
  for await (const answer of reader) return /^y(es)?$/iu.test(answer.trim());
  process.stderr.write('\n');
  return false; // Ctrl-C or Ctrl-D
}

/** @throws DarkbloomError `usage` when the file is there or its folder is not. */
function write(path: string, text: string): void {
  try {
    writeNewPrivateFile(path, text);
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === 'EEXIST') throw exists(path);
    if (code === 'ENOSPC') throw new DarkbloomError('disk_full', `There is no room for ${path}.`, { cause });
    throw new DarkbloomError(
      'usage',
      `${path} cannot be written (${code ?? 'unknown'}). Name another file with --out.`,
      { cause },
    );
  }
}

function exists(path: string): DarkbloomError {
  return new DarkbloomError('usage', `${path} exists and stays as it is. Name another file with --out.`);
}
