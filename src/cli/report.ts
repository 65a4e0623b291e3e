import { lstatSync, readdirSync } from 'node:fs';
import { homedir, hostname, release, userInfo } from 'node:os';
import { join, relative } from 'node:path';
import { z } from 'zod';
import { environment, explainSettings, ExplainedSetting, loadSettings, type Home } from '../config.js';
import { toFailure } from '../errors.js';
import { logFolderOf } from '../log.js';
import { systemCommands } from '../machine/commands.js';
import { readHardware } from '../machine/hardware.js';
import { readCatalog } from '../models/catalog.js';
import { readPlaces } from '../models/places.js';
import { readDiscovery } from '../service/discovery.js';
import { logLines, type LogLine } from '../service/log-files.js';
import { StatusOutput } from '../service/status.js';
import { readFileIfPresent } from '../util/files.js';
import { VERSION } from '../util/version.js';
import { findingOf, findingWithoutRequest, statusIfRunning, whyOutput, WhyOutput } from './commands/why.js';
import { CheckResult, runChecks } from './doctor.js';
import { SchemaVersion } from './json-output.js';
import { redactedLine, redactedValue, redactor, type Private } from './redact.js';

/** Lines of the log, the newest. */
export const MAX_LOG_LINES = 100;
/** Files and folders of the home. */
const MAX_FILES = 200;
const MAX_FOLDER_DEPTH = 4;
/** Of the whole text: as much as fits into a comment or an e-mail. Log lines make room. */
export const MAX_REPORT_BYTES = 256 * 1024;

const HomeFile = z.strictObject({
  path: z.string().describe('In the home'),
  kind: z.enum(['file', 'folder', 'other']).describe('`other`: a socket or a link'),
  size_bytes: z.number().describe('Size, bytes'),
  mode: z.string().describe('Permissions, octal'),
});

const Setting = ExplainedSetting.omit({ meaning: true });

/** What is private in it is replaced by words in brackets; paths of the user begin with `~`. */
export const ReportOutput = z.strictObject({
  schema_version: SchemaVersion,
  created_at: z.string().describe('When it was made, RFC 3339'),
  version: z.string().describe('Version of this program'),
  system: z
    .strictObject({
      platform: z.string().describe('`darwin` or `linux`'),
      release: z.string().describe('Version of its kernel'),
      architecture: z.string().describe('Of the processor'),
      node: z.string().describe('Version of Node.js'),
    })
    .describe('What the program runs on'),
  machine: z
    .strictObject({
      model: z.string().describe('Kind of machine, never its serial number'),
      chip: z.string().describe('Processor'),
      memory_gb: z.number().describe('Memory, GiB'),
      memory_available_gb: z.number().describe('Of it not in use'),
      cpu_cores: z.number().describe('Cores of the processor'),
      gpu_cores: z.number().describe('Cores of the GPU; 0: not known'),
    })
    .describe('The machine'),
  settings: z.array(Setting).optional().describe('Every setting, and who set it'),
  status: StatusOutput.optional().describe('What the daemon says of itself, its last errors too; absent: none answers'),
  why: WhyOutput.optional().describe('What keeps it from serving; absent: nothing that shows without a request'),
  doctor: z.array(CheckResult).optional().describe('What the checks found; only when asked for'),
  log: z
    .strictObject({
      lines: z.array(z.record(z.string(), z.unknown())).describe('The last ones, the oldest first'),
      left_out: z.int().describe('Older lines that are not here'),
    })
    .optional()
    .describe('Log of the background service, `info` and above'),
  files: z
    .strictObject({
      entries: z.array(HomeFile).describe('Names, sizes and permissions, no contents'),
      left_out: z.int().describe('Entries that are not here'),
    })
    .optional()
    .describe('What lies in the home'),
  problems: z
    .array(
      z.strictObject({
        part: z.string().describe('Field of this report that is absent for it'),
        message: z.string().describe('Why'),
      }),
    )
    .describe('What could not be found out'),
});
export type ReportOutput = z.infer<typeof ReportOutput>;

/** Gathers what a bug report needs, redacted. A part that cannot be had is named under `problems`.
 *  `doctor` also runs its checks and sends a request: both load a model. */
export async function makeReport(home: Home, { doctor }: { doctor: boolean }): Promise<ReportOutput> {
  const problems: ReportOutput['problems'] = [];
  const part = async <T>(name: string, gather: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await gather();
    } catch (error) {
      problems.push({ part: name, message: toFailure(error).message });
      return undefined;
    }
  };
  const redact = redactor(whatIsPrivate(home));
  const settings = await part('settings', () =>
    explainSettings(home, environment).map(({ meaning: _, ...rest }) => rest),
  );
  const status = await part('status', async () => ({ told: await statusIfRunning(home) }));
  const why = doctor ? findingOf : findingWithoutRequest;
  const finding = status && (await part('why', () => why(home, status.told)));
  const checks = doctor ? await part('doctor', () => runChecks(home, () => undefined)) : undefined;
  const log = await part('log', () => lastLines(home));
  const files = await part('files', () => filesIn(home.folder));
  const report = {
    schema_version: 1 as const,
    created_at: new Date().toISOString(),
    version: VERSION,
    system: { platform: process.platform, release: release(), architecture: process.arch, node: process.versions.node },
    machine: await machineFacts(),
    ...(settings === undefined ? {} : { settings }),
    ...(status?.told === undefined || status.told === 'unanswered' ? {} : { status: status.told }),
    ...(finding === undefined ? {} : { why: whyOutput(finding) }),
    ...(checks === undefined ? {} : { doctor: checks }),
    ...(log === undefined ? {} : { log: { ...log, lines: [] } }),
    ...(files === undefined ? {} : { files }),
    problems,
  };
  const redacted = redactedValue(report, redact) as typeof report; // only texts in it are others now
  if (log === undefined) return redacted;
  const lines = log.lines.map((line) => redactedLine(line, redact));
  return withinBound({ ...redacted, log: { ...log, lines } });
}

/** Everything of this machine that is known to be private, for `redactor`. */
function whatIsPrivate(home: Home): Private {
  const secretFiles = [home.ownerToken, home.ownerKey, home.selfLinkToken, home.linkToken, home.localToken];
  const key = orElse(() => readDiscovery(home.discovery)?.api_key, undefined);
  return {
    secrets: [...secretFiles.map(secretIn), key ?? ''],
    modelFiles: modelFilesOf(home),
    userHome: homedir(),
    providerHome: home.folder,
    userName: userInfo().username,
    hostName: hostname(),
  };
}

function secretIn(path: string): string {
  return orElse(() => readFileIfPresent(path)?.split('\n')[0]?.trim(), undefined) ?? '';
}

/** Of the settings, downloaded and of other applications. */
function modelFilesOf(home: Home): string[] {
  const own = orElse(() => Object.values(loadSettings(home, environment, {}).models.files), []);
  const { ready, refused } = orElse(() => readPlaces(readCatalog(), home.folder), { ready: [], refused: [] });
  return [...own, ...ready.flatMap(({ paths }) => paths), ...refused.map(({ path }) => path)];
}

/** A report is for machines where something is wrong. What cannot be read to hide it, `redactor` knows by its form. */
function orElse<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

async function machineFacts(): Promise<ReportOutput['machine']> {
  const { machine_model, chip_name, memory_gb, memory_available_gb, cpu_cores, gpu_cores } = await readHardware(
    systemCommands,
    process.platform,
  );
  const cores = { cpu_cores: cpu_cores.total, gpu_cores };
  return { model: machine_model, chip: chip_name, memory_gb, memory_available_gb, ...cores };
}

async function lastLines(home: Home): Promise<{ lines: LogLine[]; left_out: number }> {
  const lines: LogLine[] = [];
  let count = 0;
  for await (const line of logLines(logFolderOf(process.platform, homedir(), home.folder), { minimumLevel: 'info' })) {
    count++;
    lines.push(line);
    if (lines.length > MAX_LOG_LINES) lines.shift();
  }
  return { lines, left_out: count - lines.length };
}

function filesIn(folder: string): NonNullable<ReportOutput['files']> {
  const all = entriesOf(folder, folder, 1);
  const entries = all.slice(0, MAX_FILES);
  return { entries, left_out: all.length - entries.length };
}

function entriesOf(folder: string, root: string, depth: number): z.infer<typeof HomeFile>[] {
  const names = lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(folder).sort() : [];
  return names.flatMap((name) => {
    const path = join(folder, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return []; // it has gone meanwhile
    const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other';
    const mode = (stat.mode & 0o777).toString(8).padStart(3, '0');
    const entry = { path: relative(root, path), kind, size_bytes: stat.size, mode } as const;
    return [entry, ...(kind === 'folder' && depth < MAX_FOLDER_DEPTH ? entriesOf(path, root, depth + 1) : [])];
  });
}

function withinBound(report: ReportOutput): ReportOutput {
  const over = Buffer.byteLength(reportText(report)) - MAX_REPORT_BYTES;
  const { log } = report;
  if (over <= 0 || log === undefined || log.lines.length === 0) return report;
  const kept = log.lines.slice(Math.ceil(log.lines.length / 2));
  const left_out = log.left_out + log.lines.length - kept.length;
  return withinBound({ ...report, log: { lines: kept, left_out } });
}

/** JSON for people: an entry of a list takes one line. */
export function reportText(report: ReportOutput): string {
  return `${readable(report, '')}\n`;
}

function readable(value: unknown, indent: string): string {
  const inner = `${indent}  `;
  if (Array.isArray(value) && value.some((each) => typeof each === 'object')) {
    return `[\n${value.map((each) => inner + JSON.stringify(each)).join(',\n')}\n${indent}]`;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return JSON.stringify(value);
  const fields = Object.entries(value).map(
    ([name, each]) => `${inner}${JSON.stringify(name)}: ${readable(each, inner)}`,
  );
  return fields.length === 0 ? '{}' : `{\n${fields.join(',\n')}\n${indent}}`;
}
