import { expect, test } from 'vitest';
import { gpuCoresOf } from '../../src/machine/displays.js';

test.each([
  ['a string of digits', [{ _name: 'Apple M4', sppci_cores: '10' }], 10],
  ['a number', [{ sppci_cores: 38 }], 38],
  ['the first GPU that names them', [{ sppci_model: 'Display adapter' }, { sppci_cores: '16' }], 16],
  ['nothing in a virtual machine', [{ sppci_model: 'Apple Paravirtual device' }], 0],
  ['a word', [{ sppci_cores: 'ten' }], 0],
  ['a negative number', [{ sppci_cores: '-8' }], 0],
  ['no GPU at all', [], 0],
])('GPU cores given as %s are read', (_what, displays, expected) => {
  expect(gpuCoresOf(JSON.stringify({ SPDisplaysDataType: displays }))).toBe(expected);
});

test.each(['', '{', 'null', '{}', '{"SPDisplaysDataType":{}}', 'Graphics/Displays:\n'])(
  'a report that is not one (%j) means that the GPU is not known',
  (report) => {
    expect(gpuCoresOf(report)).toBe(0);
  },
);
