#!/usr/bin/env node
/**
 * Adds to package-lock.json the platform builds that `npm install` left out.
 *
 * npm writes no entry for an optional package that it could not look up at that moment, and `npm ci` then refuses the
 * lockfile, or, worse, a Mac installs without its Metal build. Each missing entry gets the exact version its parent
 * pins, and the system and processor that its name says, so that only a machine of that kind fetches it.
 * Run after every `npm install` that changed something:   node tools/complete-lockfile.mjs
 */
import { readFileSync, writeFileSync } from 'node:fs';

const LOCKFILE = new URL('../package-lock.json', import.meta.url);
const SYSTEMS = {
  mac: 'darwin',
  darwin: 'darwin',
  win: 'win32',
  win32: 'win32',
  linux: 'linux',
  android: 'android',
  freebsd: 'freebsd',
  openharmony: 'openharmony',
};
const PROCESSORS = {
  arm64: 'arm64',
  x64: 'x64',
  arm: 'arm',
  armv7l: 'arm',
  riscv64: 'riscv64',
  ppc64: 'ppc64',
  s390x: 's390x',
  ia32: 'ia32',
};

const lock = JSON.parse(readFileSync(LOCKFILE, 'utf8'));
const added = [];
for (const [place, parent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (place === '' || lock.packages[key] || lock.packages[`${place}/${key}`]) continue;
    const words = name.split('/').at(-1).split('-');
    const os = words.map((word) => SYSTEMS[word]).find(Boolean);
    const cpu = words.map((word) => PROCESSORS[word]).find(Boolean);
    if (os === undefined || cpu === undefined || !/^\d/.test(version))
      throw new Error(`cannot tell the platform of ${name}@${version}`);
    lock.packages[key] = { version, ...(parent.dev ? { dev: true } : {}), optional: true, os: [os], cpu: [cpu] };
    added.push(`${name}@${version}`);
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
lock.packages = Object.fromEntries(sorted);
writeFileSync(LOCKFILE, JSON.stringify(lock, null, 2) + '\n');
console.log(added.length === 0 ? 'complete' : `added ${added.length}:\n${added.join('\n')}`);
