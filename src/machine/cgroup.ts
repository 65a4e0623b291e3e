import { posix } from 'node:path';

/** The memory limit of a container: of the control groups that this process is in, version 1 or 2. Sources: cgroups(7)
 *  and the kernel's Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst. */

/** The text of a file; `undefined` when there is none. */
export type ReadText = (path: string) => Promise<string | undefined>;

export interface GroupMemory {
  limitBytes: number;
  /** What can be had before the limit is met: the page cache of the group gives way first. */
  availableBytes: number;
}

/** Names of the figures in each version. */
const VERSIONS = [
  {
    root: '/sys/fs/cgroup/memory',
    limit: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    cache: 'total_inactive_file',
  },
  { root: '/sys/fs/cgroup', limit: 'memory.max', usage: 'memory.current', cache: 'inactive_file' },
] as const;
type Version = (typeof VERSIONS)[number];

/** The tightest limit of the group and of all groups around it; `undefined` when there is none. */
export async function readGroupMemory(readText: ReadText): Promise<GroupMemory | undefined> {
  const groups = (await readText('/proc/self/cgroup')) ?? '';
  const found = await Promise.all(
    VERSIONS.flatMap((version) =>
      foldersOf(groups, version).map((folder) => memoryOf(posix.join(version.root, folder), version, readText)),
    ),
  );
  const limited = found.filter((each) => each !== undefined);
  if (limited.length === 0) return undefined;
  return {
    limitBytes: Math.min(...limited.map(({ limitBytes }) => limitBytes)),
    availableBytes: Math.min(...limited.map(({ availableBytes }) => availableBytes)),
  };
}

/** The folder of this process's group, and those above it. In a container the group's path may be the host's, which is
 *  not mounted there: the root is then its own group. */
function foldersOf(groups: string, version: Version): string[] {
  const pattern = version.limit === 'memory.max' ? /^0::(\/.*)$/mu : /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(\/.*)$/mu;
  const path = pattern.exec(groups)?.[1];
  if (path === undefined) return [];
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  return [...names.keys(), names.length].map((depth) => names.slice(0, depth).join('/'));
}

async function memoryOf(
  folder: string,
  { limit, usage, cache }: Version,
  readText: ReadText,
): Promise<GroupMemory | undefined> {
  const [limitText, usageText, stat = ''] = await Promise.all(
    [limit, usage, 'memory.stat'].map((name) => readText(posix.join(folder, name))),
  );
  const limitBytes = bytesOf(limitText);
  const usedBytes = bytesOf(usageText);
  if (limitBytes === undefined || usedBytes === undefined) return undefined; // `max`, or no such group here
  const cacheBytes = bytesOf(new RegExp(`^${cache} (\\d+)$`, 'mu').exec(stat)?.[1]) ?? 0;
  return { limitBytes, availableBytes: Math.max(0, limitBytes - usedBytes + cacheBytes) };
}

function bytesOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/u.test(text) ? Number(text) : undefined;
}
