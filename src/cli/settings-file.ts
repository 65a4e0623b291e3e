import { isDeepStrictEqual } from 'node:util';
import { parse as parseToml } from 'smol-toml';
import { fileValues, loadSettings, type Home } from '../config.js';
import { DarkbloomError } from '../errors.js';
import { makePrivateFolder, readFileIfPresent, writePrivateFile } from '../util/files.js';
import { removeTomlKey, setTomlValue, tomlLineOf } from '../util/toml-edit.js';

/** Table and key of one setting in the file. */
export interface SettingPlace {
  table: string;
  name: string;
}

export const COORDINATOR_URL: SettingPlace = { table: 'coordinator', name: 'url' };

/** Writes one setting; `undefined` goes back to its default. Comments and all other lines stay.
 *  @throws DarkbloomError `config_invalid`, with the file as it was, when the next start would refuse the value or the
 *    file is written in a way that these edits do not understand. */
export function changeSetting(home: Home, place: SettingPlace, literal: string | undefined): void {
  const text = changedSettings(home, place, literal);
  if (text === (readFileIfPresent(home.config) ?? '')) return;
  makePrivateFolder(home.folder);
  writePrivateFile(home.config, text);
}

/** The text that `changeSetting` would write. Throws as it does. */
export function changedSettings(home: Home, place: SettingPlace, literal: string | undefined): string {
  const { table, name } = place;
  const before = readFileIfPresent(home.config) ?? '';
  const meant = meaningOf(before, home);
  if (literal === undefined) meant.delete(keyOf(place));
  else meant.set(keyOf(place), parseToml(`value = ${literal}`)['value']);
  const text = literal === undefined ? removeTomlKey(before, table, name) : setTomlValue(before, table, name, literal);
  if (!means(text, meant, home)) {
    const line = tomlLineOf(before, [...table.split('.'), name]);
    throw new DarkbloomError(
      'config_invalid',
      `${home.config}${line === undefined ? '' : `, line ${line}`}: ${table}.${name} cannot be changed by a command as ` +
        `it is written there. Write it as a line of its own under [${table}], or change it by hand.`,
    );
  }
  if (text !== before) check(text, home);
  return text;
}

function keyOf({ table, name }: SettingPlace): string {
  return JSON.stringify([table, name]);
}

/** Every value by table and key; the models of the owner are a table of their own.
 *  @throws DarkbloomError `config_invalid` for a file that was wrong before. */
function meaningOf(text: string, home: Home): Map<string, unknown> {
  const values = Object.entries(fileValues(text, home.config)).flatMap(([key, value]) => {
    const dot = key.indexOf('.');
    const inTable = typeof value === 'object' && value !== null && !Array.isArray(value);
    return inTable
      ? Object.entries(value).map(([name, each]) => [keyOf({ table: key, name }), each as unknown] as const)
      : [[keyOf({ table: key.slice(0, dot), name: key.slice(dot + 1) }), value] as const];
  });
  return new Map(values);
}

function means(text: string, meant: ReadonlyMap<string, unknown>, home: Home): boolean {
  try {
    return isDeepStrictEqual(meaningOf(text, home), meant);
  } catch (error) {
    if (error instanceof DarkbloomError) return false; // no TOML any more
    throw error;
  }
}

function check(text: string, home: Home): void {
  try {
    // As flags, so that a bad value is told before it is in the file.
    loadSettings({ ...home, config: '' }, {}, fileValues(text, home.config));
  } catch (error) {
    loadSettings(home, {}, {}); // what was wrong before is told with its line
    throw error;
  }
}
