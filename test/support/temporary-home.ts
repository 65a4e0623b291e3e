import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { homeAt, type Home } from '../../src/config.js';

/** A home of its own in a temporary folder, removed with it. */
export class TemporaryHome implements Disposable {
  readonly home: Home;

  constructor() {
    this.home = homeAt(mkdtempSync(join(tmpdir(), 'darkbloom-test-')));
  }

  [Symbol.dispose](): void {
    rmSync(this.home.folder, { recursive: true, force: true });
  }
}
