import { describe, expect, test } from 'vitest';
import { readGroupMemory } from '../../src/machine/cgroup.js';
import { readLinuxMemory } from '../../src/machine/memory.js';

const GIB = 2 ** 30;
const V1_UNLIMITED = '9223372036854771712\n';

/** Recorded on Linux 6 with version 1, in a group made with a limit of 2 GiB, after it had read 60 MB from files. */
const V1_GROUPS = `9:name=systemd:/
8:pids:/
7:blkio:/
6:freezer:/
5:devices:/
4:memory:/darkbloom-sample
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
`;
const V1_STAT = `cache 60006400
rss 114688
inactive_file 1
hierarchical_memory_limit 2147483648
hierarchical_memsw_limit 9223372036854771712
total_cache 60006400
total_inactive_file 60006400
total_active_file 0
`;
const V1: Record<string, string> = {
  '/proc/self/cgroup': V1_GROUPS,
  '/sys/fs/cgroup/memory/memory.limit_in_bytes': V1_UNLIMITED,
  '/sys/fs/cgroup/memory/memory.usage_in_bytes': '9876543210\n',
  '/sys/fs/cgroup/memory/darkbloom-sample/memory.limit_in_bytes': '2147483648\n',
  '/sys/fs/cgroup/memory/darkbloom-sample/memory.usage_in_bytes': '62234624\n',
  '/sys/fs/cgroup/memory/darkbloom-sample/memory.stat': V1_STAT,
};

/** As the kernel's documentation of version 2 describes them: in a container, the root of the mount is its group. */
const V2: Record<string, string> = {
  '/proc/self/cgroup': '0::/\n',
  '/sys/fs/cgroup/memory.max': '4294967296\n',
  '/sys/fs/cgroup/memory.current': '1073741824\n',
  '/sys/fs/cgroup/memory.stat': 'anon 805306368\nfile 268435456\ninactive_file 134217728\nactive_file 134217728\n',
};

const reader = (files: Record<string, string>) => (path: string) => Promise.resolve(files[path]);
const memoryIn = (files: Record<string, string>) => readGroupMemory(reader(files));

describe('the memory of a container', () => {
  test('of version 1 is that of its group', async () => {
    expect(await memoryIn(V1)).toEqual({ limitBytes: 2 * GIB, availableBytes: 2 * GIB - 62234624 + 60006400 });
  });

  test('of version 2 is that of its group', async () => {
    expect(await memoryIn(V2)).toEqual({ limitBytes: 4 * GIB, availableBytes: 3 * GIB + 134217728 });
  });

  test('is the tightest of all groups around it', async () => {
    const nested = {
      ...V2,
      '/proc/self/cgroup': '0::/user.slice/app.service\n',
      '/sys/fs/cgroup/memory.max': 'max\n',
      '/sys/fs/cgroup/user.slice/memory.max': `${GIB}\n`,
      '/sys/fs/cgroup/user.slice/memory.current': `${GIB / 2}\n`,
      '/sys/fs/cgroup/user.slice/app.service/memory.max': `${2 * GIB}\n`,
      '/sys/fs/cgroup/user.slice/app.service/memory.current': `${GIB / 4}\n`,
    };
    expect(await memoryIn(nested)).toEqual({ limitBytes: GIB, availableBytes: GIB / 2 });
  });

  test('is found where the path of its group is that of the host', async () => {
    const group = '0::/../../docker/4f5e\n';
    expect(await memoryIn({ ...V2, '/proc/self/cgroup': group })).toMatchObject({ limitBytes: 4 * GIB });
    const v1 = {
      '/proc/self/cgroup': '11:cpu,memory:/docker/4f5e\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${GIB}\n`,
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '0\n',
    };
    expect(await memoryIn(v1)).toEqual({ limitBytes: GIB, availableBytes: GIB });
  });

  test.each([
    ['no groups at all', {}],
    ['a group without a limit', { ...V2, '/sys/fs/cgroup/memory.max': 'max\n' }],
    ['a group whose files are not there', { '/proc/self/cgroup': '0::/a/b\n' }],
    ['a limit that is no number', { ...V2, '/sys/fs/cgroup/memory.max': 'lots\n' }],
  ])('is not limited with %s', async (_, files) => {
    expect(await memoryIn(files)).toBeUndefined();
  });

  test('bounds what models may take, and what is said to be free', async () => {
    const meminfo = `MemTotal: ${(16 * GIB) / 1024} kB\nMemAvailable: ${(8 * GIB) / 1024} kB\n`;
    expect(await readLinuxMemory(reader({ ...V2, '/proc/meminfo': meminfo }))).toMatchObject({
      totalBytes: 4 * GIB,
      availableBytes: 3 * GIB + 134217728,
      engineLimitBytes: 3 * GIB,
    });
    const unlimited = { ...V1, '/sys/fs/cgroup/memory/darkbloom-sample/memory.limit_in_bytes': V1_UNLIMITED };
    expect(await readLinuxMemory(reader({ ...unlimited, '/proc/meminfo': meminfo }))).toMatchObject({
      totalBytes: 16 * GIB,
      availableBytes: 8 * GIB,
      engineLimitBytes: 12 * GIB,
    });
  });
});
