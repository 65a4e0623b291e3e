import type { SavedRow } from '../../src/runner/runtime.js';

/** A copy of a row that holds nothing, and says so once it was let go of. */
export class Saved implements SavedRow {
  disposed = false;
  constructor(readonly bytes: number) {}
  dispose(): void {
    this.disposed = true;
  }
  restore = async () => !this.disposed;
}
