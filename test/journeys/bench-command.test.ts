import { expect } from 'vitest';
import { runCommand, RunningCommand } from '../support/command.js';
import { TemporaryHome } from '../support/temporary-home.js';
import { costly } from '../support/costly.js';

const FIGURES = {
  schema_version: 1,
  model: 'darkbloom-tiny-chat',
  slots: 2,
  other_requests: 0,
  decode: [
    { streams: 1, tokens_per_second: expect.any(Number) },
    { streams: 2, tokens_per_second: expect.any(Number) },
  ],
};
const TWO_SLOTS = { DARKBLOOM_PROVIDER_ENGINE_SLOTS: '2', DARKBLOOM_PROVIDER_HTTP_PORT: '0' };

costly('bench measures in an engine of its own, and through the daemon when one runs', async () => {
  using temporary = new TemporaryHome();
  const { folder } = temporary.home;
  const alone = await runCommand(['bench', '--json'], folder, TWO_SLOTS);
  expect(alone.code).toBe(0);
  expect(JSON.parse(alone.stdout)).toMatchObject({ ...FIGURES, through: 'engine', load_ms: expect.any(Number) });
  expect(alone.stderr).toMatch(/bench: 0 %, loading the model/u);

  await using daemon = new RunningCommand(['start', '--foreground'], folder, TWO_SLOTS);
  await daemon.says(/Ready/u);
  const through = await runCommand(['bench', 'darkbloom-tiny-chat', '--json'], folder, TWO_SLOTS);
  expect(JSON.parse(through.stdout)).toMatchObject({ ...FIGURES, through: 'daemon', load_ms: null });

  const unknown = await runCommand(['bench', 'nope'], folder, TWO_SLOTS);
  expect(unknown.code).toBe(64);
  expect(unknown.stderr).toContain("This machine has no model named 'nope'. It has: darkbloom-tiny-chat.");

  expect((await runCommand(['pause'], folder)).code).toBe(0);
  const paused = await runCommand(['bench'], folder, TWO_SLOTS);
  expect(paused.code).toBe(75);
  expect(paused.stderr).toContain('The daemon is paused');
});
