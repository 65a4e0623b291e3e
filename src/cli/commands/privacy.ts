import { homedir } from 'node:os';
import { Command } from 'commander';
import { z } from 'zod';
import { environment, findHome, loadSettings, type Home, type Settings } from '../../config.js';
import { logFolderOf } from '../../log.js';
import { systemCommands } from '../../machine/commands.js';
import { readPosture } from '../../machine/posture.js';
import { readCatalog } from '../../models/catalog.js';
import { nodePrivacy, type NodePrivacy } from '../../service/node-privacy.js';
import { agentHere } from '../agent-here.js';
import { askPrivacy } from '../control-client.js';
import {
  deletions,
  keptPlaces,
  NOT_PREVENTED,
  promptSentences,
  reportedCapabilities,
  waysOut,
} from '../privacy-report.js';
import { printJson, SchemaVersion } from '../json-output.js';
import { DEFAULT_WIDTH, screenWidth, wrapped } from '../screen.js';
import { print, style } from '../style.js';

export const PrivacyOutput = z.strictObject({
  schema_version: SchemaVersion,
  source: z
    .enum(['daemon', 'settings'])
    .describe('`daemon`: asked from the running daemon; `settings`: no daemon serves, as one started now would do'),
  coordinator_url: z.string().optional().describe('absent: this machine is its own coordinator'),
  serve_others: z.boolean().describe('requests of other accounts are answered here'),
  host: z.string().describe('address the HTTP port is bound to'),
  prompts: z.array(z.string()).describe('what happens to prompts and answers, in sentences'),
  not_prevented: z.array(z.string()).describe('what this program cannot keep from happening to them, in sentences'),
  kept: z
    .array(
      z.strictObject({
        path: z.string().describe('a file or a folder'),
        holds: z.string().describe('what is in it'),
        present: z.boolean().describe('it is there now'),
        mode: z.string().optional().describe('permission bits, `0600`; absent where nothing is there'),
      }),
    )
    .describe('every place that this program writes to'),
  leaves: z
    .array(
      z.strictObject({
        to: z.string().describe('whom it goes to'),
        when: z.string().describe('at what moments'),
        what: z.string().describe('what is sent'),
      }),
    )
    .describe('all that leaves this machine beside answers to its own clients'),
  capabilities: z
    .array(
      z.strictObject({
        name: z.string().describe('its name on the wire'),
        reported: z.boolean().optional().describe('as the coordinator is told; absent: not known, and not told'),
        meaning: z.string().describe('what is so, or why it is not'),
      }),
    )
    .describe('`privacy_capabilities` of `register`'),
  deletion: z
    .array(
      z.strictObject({
        command: z.string().describe('what to type'),
        does: z.string().describe('what it deletes'),
      }),
    )
    .describe('how to delete all of it'),
});
export type PrivacyOutput = z.infer<typeof PrivacyOutput>;

export function privacyCommand(): Command {
  return new Command('privacy')
    .description('what this node does with prompts, what it keeps, what leaves it, how to delete it')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Asked from the running daemon where there is one: the flags of its start and its
own environment count. Else the settings, and what a daemon started now would
report.

Examples:
  $ darkbloom-provider privacy
  $ darkbloom-provider privacy --json | jq '.capabilities[] | select(.reported == false)'`,
    )
    .action(privacy);
}

async function privacy({ json }: { json?: true }): Promise<void> {
  const home = findHome(environment);
  const settings = loadSettings(home, environment, {});
  const fromDaemon = await askPrivacy(home);
  const node = fromDaemon ?? (await asStartedNow(settings));
  const output = PrivacyOutput.parse({
    schema_version: 1,
    source: fromDaemon === undefined ? 'settings' : 'daemon',
    ...(node.coordinator_url === undefined ? {} : { coordinator_url: node.coordinator_url }),
    serve_others: node.serve_others,
    host: node.host,
    prompts: promptSentences(node),
    not_prevented: NOT_PREVENTED,
    kept: placesOf(home),
    leaves: waysOut(node, downloadHosts(settings)),
    capabilities: reportedCapabilities(node.capabilities),
    deletion: deletions(home, node),
  });
  if (json === true) printJson<PrivacyOutput>(output);
  else printPrivacy(output, home);
}

async function asStartedNow(settings: Settings): Promise<NodePrivacy> {
  const { capabilities } = await readPosture(systemCommands, process.platform, environment);
  return nodePrivacy(settings, capabilities);
}

function placesOf(home: Home) {
  return keptPlaces(home, {
    logFolder: logFolderOf(process.platform, homedir(), home.folder),
    agentFiles: agentHere(home)?.files ?? [],
  });
}

/** The set host, then the mirrors of the catalogue. */
function downloadHosts({ models }: Settings): string[] {
  const builds = readCatalog().flatMap((model) => model.builds);
  const mirrors = builds.flatMap((build) => (build.source === 'package' ? [] : build.mirrors.map(({ url }) => url)));
  return [...new Set([models.download_from, ...mirrors].map((url) => new URL(url).origin))];
}

function printPrivacy(output: PrivacyOutput, home: Home): void {
  print(style.bold('Prompts and answers'));
  for (const sentence of output.prompts) paragraph(sentence);
  paragraph(`Not prevented: ${output.not_prevented.join(' ')}`);

  heading('Kept on this machine, and nowhere else by this program');
  for (const { path, holds, present, mode } of output.kept) {
    if (present) entry(path === home.folder ? path : path.replace(`${home.folder}/`, '  '), `${mode ?? ''} ${holds}`);
  }
  if (output.kept.every(({ present }) => !present)) paragraph('Nothing yet.');
  paragraph('A daemon in a terminal writes its log there, and to no file.');

  heading('Leaves this machine');
  for (const { to, when, what } of output.leaves) paragraph(`To ${to}, ${when}: ${what}.`);
  paragraph(
    output.coordinator_url === undefined
      ? 'No coordinator elsewhere is set, so nothing goes to one. There is no telemetry and no check for updates.'
      : 'There is no telemetry and no check for updates.',
  );

  heading(
    output.source === 'daemon'
      ? 'What the running daemon reports of its own protection'
      : 'What a daemon started now would report of its own protection',
  );
  for (const { name, reported, meaning } of output.capabilities) {
    entry(name, `${reported === undefined ? 'not told' : reported ? 'yes' : 'no'}: ${meaning}`);
  }

  heading('To delete it');
  for (const { command, does } of output.deletion) {
    paragraph(style.bold(command));
    paragraph(does, '    ');
  }
}

function heading(text: string): void {
  print();
  print(style.bold(text));
}

function paragraph(text: string, indent = '  '): void {
  for (const line of wrapped(text, screenWidth(DEFAULT_WIDTH) - indent.length)) print(`${indent}${line}`);
}

const NAME_WIDTH = 28;

/** A name and what there is to say of it; a long name has a line of its own. */
function entry(name: string, text: string): void {
  const lines = wrapped(text, screenWidth(DEFAULT_WIDTH) - NAME_WIDTH - 2);
  const first = name.length < NAME_WIDTH ? name.padEnd(NAME_WIDTH) + (lines.shift() ?? '') : name;
  print(`  ${first}`.trimEnd());
  for (const line of lines) print(`${' '.repeat(NAME_WIDTH + 2)}${line}`);
}
