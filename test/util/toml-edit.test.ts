import fc from 'fast-check';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import { removeTomlKey, setTomlValue, tomlLineOf, tomlLiteral, tomlString } from '../../src/util/toml-edit.js';

const FILE = `# mine
[http]          # the port for my programs
host = "127.0.0.1"
port = 9000 # not 8000: "that" is taken

[engine]
# slots = 3
slots = 2

[models.files]
qwen = '/models/a # b.gguf' # the good one
"qwen2.5" = "/models/c.gguf"
`;

/** The lines of FILE, with some changed (or gone). */
const fileWith = (changes: Readonly<Record<string, string | undefined>>): string => {
  const lines = FILE.split('\n');
  for (const line of Object.keys(changes)) expect(lines).toContain(line);
  return lines.flatMap((line) => (line in changes ? (changes[line] ?? []) : line)).join('\n');
};

describe('to set a key', () => {
  test('changes its line alone, and keeps the comment behind it', () => {
    const line = 'port = 9000 # not 8000: "that" is taken';
    expect(setTomlValue(FILE, 'http', 'port', '1')).toBe(fileWith({ [line]: 'port = 1 # not 8000: "that" is taken' }));
  });

  test('takes no `#` inside quotes for a comment', () => {
    expect(setTomlValue(FILE, 'models.files', 'qwen', '"/x"')).toBe(
      fileWith({ "qwen = '/models/a # b.gguf' # the good one": 'qwen = "/x" # the good one' }),
    );
  });

  test('is not led astray by a comment that looks like it', () => {
    expect(setTomlValue(FILE, 'engine', 'slots', '4')).toBe(fileWith({ 'slots = 2': 'slots = 4' }));
  });

  test('that its table does not have yet puts it under the header', () => {
    expect(setTomlValue(FILE, 'engine', 'threads', '8')).toBe(fileWith({ '[engine]': '[engine]\nthreads = 8' }));
  });

  test('leaves the same name in another table alone', () => {
    const text = '[http]\nport = 1\n[coordinator]\nport = 2\n';
    expect(setTomlValue(text, 'coordinator', 'port', '3')).toBe('[http]\nport = 1\n[coordinator]\nport = 3\n');
    expect(setTomlValue('[http]\nport = 1\n', 'coordinator', 'port', '3')).toBe(
      '[http]\nport = 1\n\n[coordinator]\nport = 3\n',
    );
  });

  test('of a table that is not there adds the table at the end', () => {
    expect(setTomlValue(FILE, 'log', 'level', '"warn"')).toBe(`${FILE}\n[log]\nlevel = "warn"\n`);
  });

  test('writes the first line of an empty file', () => {
    expect(setTomlValue('', 'http', 'port', '1')).toBe('[http]\nport = 1\n');
  });

  test('finds a table whose header has spaces', () => {
    expect(setTomlValue('[ models . files ]\n', 'models.files', 'a', '"/x"')).toBe('[ models . files ]\na = "/x"\n');
  });

  test.each(['"qwen2.5"', "'qwen2.5'", '  "qwen2.5"   '])('finds %s however it is written', (spelling) => {
    const text = `[models.files]\n${spelling}= "/old"\nqwen2x5 = "/other"\n`;
    const after = setTomlValue(text, 'models.files', 'qwen2.5', '"/new"');
    expect(parse(after)).toEqual({ models: { files: { 'qwen2.5': '/new', qwen2x5: '/other' } } });
  });

  test('keeps a file without a line end at its end readable', () => {
    expect(setTomlValue('[http]\nport = 1', 'log', 'level', '"warn"')).toBe(
      '[http]\nport = 1\n\n[log]\nlevel = "warn"\n',
    );
  });
});

describe('to remove a key', () => {
  test('takes its line away and nothing else', () => {
    expect(removeTomlKey(FILE, 'engine', 'slots')).toBe(fileWith({ 'slots = 2': undefined }));
    expect(removeTomlKey(FILE, 'models.files', 'qwen2.5')).toBe(
      fileWith({ '"qwen2.5" = "/models/c.gguf"': undefined }),
    );
  });

  test.each([
    ['a key that is not set', 'engine', 'threads'],
    ['a key of another table', 'engine', 'port'],
    ['a table that is not there', 'log', 'level'],
  ])('changes nothing for %s', (_, table, key) => {
    expect(removeTomlKey(FILE, table, key)).toBe(FILE);
    expect(removeTomlKey('', table, key)).toBe('');
  });
});

describe('keys that are dotted before their table', () => {
  test.each([
    ['http.port = 1 # mine\n', 'http.port = 2 # mine\n'],
    ['  http . "port"=1\n[engine]\nport = 9\n', '  http . "port" = 2\n[engine]\nport = 9\n'],
    ['http.host = "x"\n\n[engine]\n', 'http.host = "x"\nhttp.port = 2\n\n[engine]\n'],
  ])('are set where they stand: %j', (before, after) => {
    expect(setTomlValue(before, 'http', 'port', '2')).toBe(after);
  });

  test('of a table in a table stay under its header', () => {
    expect(setTomlValue('[models]\nfiles.a = "/a"\n', 'models.files', 'b.c', '"/b"')).toBe(
      '[models]\nfiles.a = "/a"\nfiles."b.c" = "/b"\n',
    );
    expect(setTomlValue('[models]\nfiles.a = "/a"\n', 'models', 'download_from', '"x"')).toBe(
      '[models]\ndownload_from = "x"\nfiles.a = "/a"\n',
    );
    expect(setTomlValue('models.files.a = "/a"\n', 'models', 'download_from', '"x"')).toBe(
      'models.files.a = "/a"\nmodels.download_from = "x"\n',
    );
  });

  test('are removed where they stand', () => {
    expect(removeTomlKey('# a\nhttp.port = 1\nhttp.host = "x"\n', 'http', 'port')).toBe('# a\nhttp.host = "x"\n');
    expect(removeTomlKey('[models]\nfiles."a" = "/a"\n', 'models.files', 'a')).toBe('[models]\n');
    expect(removeTomlKey('[engine]\nhttp.port = 1\n', 'http', 'port')).toBe('[engine]\nhttp.port = 1\n');
  });

  test('and inline tables are found by their line', () => {
    expect(tomlLineOf('# a\nhttp = { port = 1 }\n', ['http', 'port'])).toBe(2);
    expect(tomlLineOf('# a\nhttp.port = 1\n', ['http', 'port'])).toBe(2);
    expect(tomlLineOf(FILE, ['models', 'files', 'qwen2.5'])).toBe(12);
    expect(tomlLineOf(FILE, ['log', 'level'])).toBeUndefined();
  });
});

test.each([
  ['8000', 8000],
  ['0', 0],
  ['true', true],
  ['false', false],
  ['0080', '0080'],
  ['123456789012345678901', '123456789012345678901'],
  ['-1', '-1'],
  ['1.5', '1.5'],
  ['', ''],
  ['a "quoted" \\ word', 'a "quoted" \\ word'],
])('the word %j becomes the value %j', (word, value) => {
  expect(parse(`key = ${tomlLiteral(word)}`)).toEqual({ key: value });
});

describe('whatever a file holds', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/u);
  const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string());
  const literal = fc.oneof(value.map(tomlString), fc.nat().map(String), fc.boolean().map(String));
  const comment = fc.constantFrom('', ' # why', ' # a "quote', " # it's [here] = 1");
  const keyOf = (key: string) => fc.constantFrom(tomlString(key), `'${key}'`);
  const line = name.chain((key) =>
    fc.record({ key: fc.constant(key), spelled: keyOf(key), literal, comment, indent: fc.constantFrom('', '  ') }),
  );
  const table = fc.record({
    header: fc.constantFrom('http', 'engine', 'models.files'),
    comment,
    lines: fc.uniqueArray(line, { selector: ({ key }) => key, maxLength: 4 }),
    before: fc.constantFrom('', '\n', '# a line of its own\n', '# [http]\n'),
  });
  const file = fc
    .uniqueArray(table, { selector: ({ header }) => header, maxLength: 3 })
    .map((tables) =>
      tables
        .map(({ header, comment: behind, lines, before }) =>
          [
            `${before}[${header}]${behind}`,
            ...lines.map((each) => `${each.indent}${each.spelled} = ${each.literal}${each.comment}`),
            '',
          ].join('\n'),
        )
        .join(''),
    );
  const place = fc.record({ table: fc.constantFrom('http', 'engine', 'models.files', 'log'), key: name });
  /** What the file means, flat: table and key → value. */
  const meaning = (text: string): Map<string, unknown> => {
    const { models, ...tables } = parse(text) as Record<string, Record<string, unknown>>;
    const all = { ...tables, ...(models === undefined ? {} : { 'models.files': models['files'] as object }) };
    return new Map(
      Object.entries(all).flatMap(([header, keys]) =>
        Object.entries(keys).map(([key, each]) => [JSON.stringify([header, key]), each] as const),
      ),
    );
  };
  /** A key of the file, half the time. */
  const placeIn = (text: string) => {
    const kept = [...meaning(text).keys()].map((key) => JSON.parse(key) as [string, string]);
    if (kept.length === 0) return place;
    return fc.oneof(
      place,
      fc.constantFrom(...kept).map(([header, key]) => ({ table: header, key })),
    );
  };
  const edit = file.chain((text) => fc.record({ text: fc.constant(text), place: placeIn(text), value }));
  const comments = (text: string) => text.split('\n').filter((each) => each.startsWith('#'));

  test('a key that was set has its value, and every other line means what it meant', () => {
    fc.assert(
      fc.property(edit, ({ text, place: { table: header, key }, value: set }) => {
        const after = setTomlValue(text, header, key, tomlString(set));
        expect(meaning(after)).toEqual(new Map([...meaning(text), [JSON.stringify([header, key]), set]]));
        expect(comments(after)).toEqual(comments(text));
        expect(setTomlValue(after, header, key, tomlString(set))).toBe(after);
      }),
      { numRuns: 300 },
    );
  });

  test('a key that was removed is gone, and every other line means what it meant', () => {
    fc.assert(
      fc.property(edit, ({ text, place: { table: header, key } }) => {
        const after = removeTomlKey(text, header, key);
        const left = meaning(text);
        left.delete(JSON.stringify([header, key]));
        expect(meaning(after)).toEqual(left);
        expect(comments(after)).toEqual(comments(text));
      }),
      { numRuns: 300 },
    );
  });
});
