import { describe, expect, test } from 'vitest';
import { systemCommands } from '../../src/machine/commands.js';

describe('a system command', () => {
  test('gives its output on both streams', async () => {
    expect(await systemCommands.run('/bin/sh', ['-c', 'echo out; echo err >&2'])).toEqual({
      code: 0,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('that fails gives its exit status and what it printed', async () => {
    const result = await systemCommands.run('/bin/sh', ['-c', 'echo half; exit 3']);
    expect(result).toEqual({ code: 3, stdout: 'half\n', stderr: '' });
  });

  test('that does not exist is a result, not an exception', async () => {
    const result = await systemCommands.run('/usr/bin/no-such-tool', ['status']);
    expect(result).toEqual({ code: 'missing', stdout: '', stderr: '' });
  });

  test('that exists but cannot be started is not missing', async () => {
    expect((await systemCommands.run('/etc/passwd', [])).code).toBe(-1);
  });

  test('that is killed by a signal has no exit status and did not time out', async () => {
    expect((await systemCommands.run('/bin/sh', ['-c', 'kill -9 $$'])).code).toBe(-1);
  });

  test('that prints without end is stopped', async () => {
    const result = await systemCommands.run('/bin/sh', [
      '-c',
      'while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done',
    ]);
    expect(result.code).toBe(-1);
    expect(result.stdout.length).toBeLessThanOrEqual(1024 * 1024);
  });

  test('that hangs is stopped after five seconds', async () => {
    expect((await systemCommands.run('/bin/sh', ['-c', 'exec sleep 60'])).code).toBe('timeout');
  });

  test('that reads its input sees the end of it', async () => {
    expect((await systemCommands.run('/bin/cat', [])).code).toBe(0);
  });

  test('sees none of our environment and speaks English', async () => {
    const { stdout } = await systemCommands.run('/usr/bin/env', []);
    expect(stdout.trim().split('\n').sort()).toEqual(['LC_ALL=C', 'PATH=/usr/bin:/bin:/usr/sbin:/sbin']);
  });
});
