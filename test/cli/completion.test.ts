import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';

test('bash completes commands, subcommands and options with the script', async () => {
  using temporary = new TemporaryHome();
  const { folder } = temporary.home;
  const { code, stdout } = await runCommand(['completion', 'bash'], folder);
  expect(code).toBe(0);
  writeFileSync(join(folder, 'completion.bash'), stdout);
  const complete = (...words: string[]) => {
    const set = `COMP_WORDS=(darkbloom-provider ${words.join(' ')}); COMP_CWORD=${words.length}`;
    const script = `. ${folder}/completion.bash; ${set}; _darkbloom_provider; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n');
  };
  expect(complete('sta')).toEqual(['start', 'status']);
  expect(complete('models', 'pl')).toEqual(['plan']);
  expect(complete('status', '--')).toEqual(['--json', '--watch', '--help']);
});

test('zsh and fish get a script that names every command', async () => {
  using temporary = new TemporaryHome();
  for (const shell of ['zsh', 'fish']) {
    const { stdout } = await runCommand(['completion', shell], temporary.home.folder);
    for (const name of ['start', 'models', 'coordinator', 'uninstall']) expect(stdout).toContain(name);
  }
  expect(await runCommand(['completion', 'tcsh'], temporary.home.folder)).toMatchObject({ code: 64 });
});
