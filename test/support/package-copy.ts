import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCatalog, type CatalogModel } from '../../src/models/catalog.js';
import { PACKAGE_ROOT } from '../../src/util/version.js';

/** The built package in a folder of its own, as an installation is, with a catalogue that a test can serve. */
export class PackageCopy implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'darkbloom-package-'));

  /** @param hosted models that can be downloaded; the model of the package stays */
  constructor(hosted: readonly CatalogModel[]) {
    for (const name of ['bin', 'dist', 'assets', 'launchd', 'package.json']) {
      cpSync(join(PACKAGE_ROOT, name), join(this.#folder, name), { recursive: true });
    }
    symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(this.#folder, 'node_modules'));
    const packaged = readCatalog().filter(({ builds }) => builds.some(({ source }) => source === 'package'));
    writeFileSync(
      join(this.#folder, 'models.json'),
      JSON.stringify({ schema_version: 1, models: [...hosted, ...packaged] }),
    );
  }

  get program(): string {
    return join(this.#folder, 'bin/darkbloom-provider');
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
