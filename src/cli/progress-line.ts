import { style } from './style.js';

const BAR_CELLS = 24;
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
        const cells = Math.round(share * BAR_CELLS);
        const bar = `${'█'.repeat(cells)}${style.dim('░'.repeat(BAR_CELLS - cells))}`;
        stderr.write(`\r\x1b[K${bar} ${Math.floor(share * 100)} %  ${text}`);
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
