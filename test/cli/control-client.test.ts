import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { expect, test } from 'vitest';
import { askStatus, askStatusIfRunning } from '../../src/cli/control-client.js';
import { TemporaryHome } from '../support/temporary-home.js';

test('a daemon that ends while it is asked does not run', async () => {
  using temporary = new TemporaryHome();
  const server = createSocketServer((socket) => socket.once('data', () => socket.destroy()));
  server.listen(temporary.home.controlSocket);
  await once(server, 'listening');
  await expect(askStatus(temporary.home)).rejects.toMatchObject({ code: 'machine_offline' });
  expect(await askStatusIfRunning(temporary.home)).toBeUndefined();
  server.close();
});

test.each(['{"state":"dancing"}', 'no JSON'])('a daemon that answers %j is of another version', async (answer) => {
  using temporary = new TemporaryHome();
  const server = createServer((_, response) => response.end(answer));
  server.listen(temporary.home.controlSocket);
  await once(server, 'listening');
  await expect(askStatus(temporary.home)).rejects.toMatchObject({ code: 'not_supported' });
  server.close();
});
