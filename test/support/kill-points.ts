import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { downloadBuild, type DownloadOptions } from '../../src/models/download.js';
import { filePlace, readPlaces } from '../../src/models/places.js';
import type { HostedBuild } from '../../src/models/catalog.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';
import { hostedModel, QUICK_LIMITS, SEGMENT_BYTES, seededBytes, seededNumbers, serve } from './hosted-build.js';
import { RangeServer } from './range-server.js';
import { TemporaryHome } from './temporary-home.js';

/** A process of its own that downloads a build. `ended` is what it said: `done`, or the code of its error. */
export function downloadInChild(build: HostedBuild, options: Pick<DownloadOptions, 'homeFolder' | 'endpoints'>) {
  const module = pathToFileURL(join(PACKAGE_ROOT, 'dist/models/download.js')).href;
  const program = `
    const { downloadBuild } = await import(${JSON.stringify(module)});
    const [build, options] = JSON.parse(process.argv[1]);
    await downloadBuild(build, options).then(() => console.log('done'), (error) => console.log(error.code));
  `;
  const order = JSON.stringify([build, { ...options, limits: QUICK_LIMITS }]);
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, order], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString('utf8')));
  const ended = once(child, 'close').then(() => said.trim());
  return { child, ended };
}

export interface KillStory {
  /** Share of the bytes that the server had sent when the process was killed; above 1: after the last byte. */
  point: number;
  /** Whether the file was in its place after the kill, and right. */
  afterKill: 'absent' | 'right' | 'wrong';
  /** Whether the file was right after the second run, and offered. */
  afterResume: 'right' | 'wrong';
  /** Bytes that the second run asked the server for. */
  resumedBytes: number;
  totalBytes: number;
}

const CONTENT_BYTES = 24 * SEGMENT_BYTES + 77;
/** Also after the last byte, while the file is checked and published. */
const LAST_POINT = 1.2;
/** Behind the last byte: a point of 1.1 is a tenth of this later. */
const LATE_MS_PER_POINT = 200;

/** Kills a downloading process at seeded points, each in a home of its own, and runs the download again. */
export async function killAndResume(seed: number, points: number): Promise<KillStory[]> {
  const stories: KillStory[] = [];
  for (const [index, number] of seededNumbers(seed, points).entries()) {
    stories.push(await killAt(number * LAST_POINT, seed * 1_000 + index));
  }
  return stories;
}

async function killAt(point: number, seed: number): Promise<KillStory> {
  const content = seededBytes(seed, CONTENT_BYTES);
  const files = new Map([['story.gguf', content]]);
  const { model, build } = hostedModel(files);
  const [file] = build.files;
  if (file === undefined) throw new Error('no file');
  using temporary = new TemporaryHome();
  await using server = await RangeServer.listen();
  serve(server, files);
  server.pauseMs = 1;
  const homeFolder = temporary.home.folder;
  const path = filePlace(homeFolder, build, file);
  const options = { homeFolder, endpoints: [server.url] };

  const { child, ended } = downloadInChild(build, options);
  const killBytes = Math.min(CONTENT_BYTES, Math.floor(point * CONTENT_BYTES));
  const lateMs = Math.max(0, point - 1) * LATE_MS_PER_POINT;
  server.onSent = (bytes) => {
    if (bytes >= killBytes) setTimeout(() => child.kill('SIGKILL'), lateMs);
  };
  await ended;
  const isRight = () => readFileSync(path).equals(content);
  const afterKill = !existsSync(path) ? 'absent' : isRight() ? 'right' : 'wrong';

  server.onSent = () => undefined;
  server.pauseMs = 0;
  server.requests.length = 0;
  await downloadBuild(build, { ...options, limits: QUICK_LIMITS });
  const isOffered = readPlaces([model], homeFolder).ready.length === 1;
  return {
    point,
    afterKill,
    afterResume: isRight() && isOffered ? 'right' : 'wrong',
    resumedBytes: server.requests.reduce(
      (sum, { range }) => sum + (range === undefined ? 0 : range[1] + 1 - range[0]),
      0,
    ),
    totalBytes: CONTENT_BYTES,
  };
}
