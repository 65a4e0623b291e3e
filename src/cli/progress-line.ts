import { DEFAULT_WIDTH, fit } from './screen.js';
import { errorStyle } from './style.js';

const BAR_CELLS = 24;
/** A shorter bar says nothing. */
const MIN_BAR_CELLS = 8;
/** Where nobody watches, one line for each of these steps. */
const STEP = 0.1;

/** Progress of something long: a bar on a terminal, a line for every tenth elsewhere. On stderr, beside the data. */
export function progressLine(what: string): { show: (share: number, text: string) => void; end: () => void } {
  const { stderr } = process;
  let nextStep = 0;
  let shown = false;
  return {
    show(share, text) {
      if (stderr.isTTY) {
        const { full, empty, words } = barLine(share, text, (stderr.columns || DEFAULT_WIDTH) - 1);
        stderr.write(`\r\x1b[K${full}${errorStyle.dim(empty)}${words}`);
        shown = true;
      } else if (share >= nextStep) {
        nextStep = Math.floor(share / STEP) * STEP + STEP;
        stderr.write(`${what}: ${Math.floor(share * 100)} %, ${text}\n`);
      }
    },
    end() {
      if (shown) stderr.write('\n');
      shown = false;
    },
  };
}

/** One line of at most `width`: a longer one would wrap, and stay when the next one is written over it. Pure. */
export function barLine(share: number, text: string, width: number): { full: string; empty: string; words: string } {
  const words = ` ${Math.floor(share * 100)} %  ${text}`;
  const room = Math.min(BAR_CELLS, width - words.length);
  if (room < MIN_BAR_CELLS) return { full: '', empty: '', words: fit(words.trimStart(), width) };
  const cells = Math.round(share * room);
  return { full: '█'.repeat(cells), empty: '░'.repeat(room - cells), words };
}
