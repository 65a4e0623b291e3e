import { expect, test } from 'vitest';
import { barLine } from '../../src/cli/progress-line.js';

const TEXT = '1.21 GB of 12.11 GB, 112.34 MB/s, 1 h 37 min left';

test.each([
  [119, 24],
  [79, 23],
  [59, 0],
  [40, 0],
])('in %i columns progress is one line, with a bar of %i cells', (width, cells) => {
  const { full, empty, words } = barLine(0.1, TEXT, width);
  expect(full.length + empty.length).toBe(cells);
  expect(full.length).toBe(Math.round(cells / 10));
  expect((full + empty + words).length).toBeLessThanOrEqual(width);
  expect(words).toContain('10 %  1.21 GB of 12.11 GB');
});
