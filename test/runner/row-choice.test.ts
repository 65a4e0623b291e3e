import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseRow, compactingMove, type RowView } from '../../src/runner/row-choice.js';

/** One letter for each row: `B` busy, `.` empty, a digit: an idle prefix, the lower the longer unused. */
function rows(picture: string): RowView[] {
  return [...picture].map((letter, id) => ({
    id,
    busy: letter === 'B',
    keeps: /\d/u.test(letter) ? 100 : 0,
    lastUsed: Number(letter) || 0,
  }));
}

const isDense = (all: readonly RowView[]) =>
  /^B*$/u.test(
    all
      .map(({ busy }) => (busy ? 'B' : ' '))
      .join('')
      .trim(),
  );

describe('a new request gets', () => {
  test.each<[string, string, number | undefined, number | undefined]>([
    ['the lowest of empty rows', '....', undefined, 0],
    ['the row beside the busy one', 'B...', undefined, 1],
    ['the gap between busy rows', 'B.B.', undefined, 1],
    ['the row beside the busy ones, though its prefix is lost', 'BB3.', undefined, 2],
    ['a place below the busy ones, if that is beside them too', '1.BB', undefined, 1],
    ['the row of its own prefix', '12..', 1, 2],
    ['an empty row before an idle prefix', '21..', undefined, 2],
    ['the prefix unused for longest', '3214', undefined, 2],
    ['nothing when all are busy', 'BBBB', undefined, undefined],
  ])('%s: %s', (_, picture, home, expected) => {
    expect(chooseRow(rows(picture), home)).toBe(expected);
  });

  test('the row that holds its prefix, if nothing is lost there', () => {
    const all = rows('.2..').map((row) => (row.id === 1 ? { ...row, keeps: 0 } : row));
    expect(chooseRow(all, 1)).toBe(1);
  });
});

describe('a gap is closed', () => {
  test.each<[string, string, { from: number; to: number } | undefined]>([
    ['there is none', 'BBB.', undefined],
    ['there is none at the upper end either', '..BB', undefined],
    ['by the highest row', 'B.BB', { from: 3, to: 1 }],
    ['with the fewest moves', 'B..BBB', { from: 0, to: 2 }],
    ['where the fewest tokens are lost', 'B1.B', { from: 0, to: 2 }],
    ['step by step', 'B.B.B.', { from: 4, to: 1 }],
  ])('%s: %s', (_, picture, expected) => {
    expect(compactingMove(rows(picture))).toEqual(expected);
  });

  test('whatever the rows are, with moves into free rows, in no more moves than there are gaps', () => {
    const picture = fc.array(fc.constantFrom('B', '.', '1', '2'), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(picture, (letters) => {
        let all = rows(letters.join(''));
        const most = all.filter(({ busy }) => !busy).length;
        for (let moves = 0; moves <= most; moves++) {
          const move = compactingMove(all);
          if (move === undefined) {
            expect(isDense(all)).toBe(true);
            return;
          }
          expect(all[move.from]?.busy).toBe(true);
          expect(all[move.to]?.busy).toBe(false);
          all = all.map((row) => ({
            ...row,
            busy: row.id === move.to || (row.busy && row.id !== move.from),
            keeps: row.id === move.to ? 0 : row.keeps,
          }));
        }
        expect.unreachable('still not dense');
      }),
    );
  });
});
