/**
 * Writes docs/models.md from the catalogue and the sums of `models plan`: `npm run docs`.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { planOfMac } from '../dist/cli/commands/models/plan.js';
import { Settings } from '../dist/config.js';
import { readCatalog } from '../dist/models/catalog.js';
import { SAMPLE_MACS } from '../dist/models/macs.js';

const TARGET = fileURLToPath(new URL('../docs/models.md', import.meta.url));
const GIB = 1024 ** 3;

function introduction({ rows, contextTokens }) {
  return `# Which models fit which Mac

<!-- Made by \`npm run docs\` from models.json and the sums of \`models plan\`. Change those, not this page. -->

\`darkbloom-provider models plan\` makes these tables for the Mac it runs on, with its settings;
\`darkbloom-provider models plan --as "M2 16GB"\` for any other. Here are twelve Macs with the default settings:
${rows} requests at once (\`engine.slots\`) of ${contextTokens} tokens each (\`engine.context_tokens\`).

These are sums, not measurements: nothing was run on a Mac yet.

## How a sum comes about

All figures are GiB (1024³ bytes), rounded to one digit; the sums are made with bytes.

| Part | What it is |
| --- | --- |
| weights | the size of the build's files |
| KV cache | keys and values of each token: 2 bytes × KV heads × (key length + value length), over the layers with full attention, × requests at once × context. Layers with a window keep the window and one batch of 512 tokens at most. Recurrent layers keep a fixed state for each request |
| compute | scratch buffers: a tenth of the weights, 64 MiB at least |
| reserve | 0.5 GiB for the screen and other programs. Only a plan counts it; a daemon loads what fits without it |
| limit | what the GPU of a Mac may hold: two thirds of its memory up to 32 GB, three quarters above. Newer systems allow more, so this is the safe side. An owner can raise it (\`sysctl iogpu.wired_limit_mb\`), and a plan on that Mac counts with what is set |

A model fits when weights + KV cache + compute + reserve are within the limit. Where they are not, the plan tries fewer
requests at once, then shorter ones, and shows the first that fits: \`2 × 8192\` means two requests of 8192 tokens. The
daemon does not shrink them by itself: \`config set engine.slots 2\`, \`config set engine.context_tokens 8192\`.
`;
}

/** The text of docs/models.md. */
export function modelsDocs() {
  const catalog = readCatalog();
  const settings = Settings.parse({});
  const plans = SAMPLE_MACS.map((mac) => planOfMac(mac, catalog, settings));
  return [introduction(plans[0]), '## In short\n', overview(plans), ...plans.map(chapter)].join('\n');
}

function overview(plans) {
  const head = ['Build', ...plans.map(({ machine }) => machine)];
  const rows = plans[0].lines.map(({ alias, quantization }, index) => [
    `${alias} ${quantization}`,
    ...plans.map(({ lines }) => inShort(lines[index])),
  ]);
  return table(head, rows);
}

function inShort({ fits, rows, contextTokens }) {
  return { as_set: 'fits', smaller: `${rows} × ${contextTokens}`, no: '–' }[fits];
}

function chapter({ machine, limitBytes, lines, recommended }) {
  const rows = lines.map((line) => {
    const { weightBytes, kvBytes, computeBytes, reserveBytes, neededBytes } = line.sum;
    const sum = [weightBytes, kvBytes, computeBytes, reserveBytes].map(gib).join(' + ');
    const needs = `${line.isEstimate ? 'about ' : ''}${gib(neededBytes)}`;
    const result = line.fits === 'no' ? `${gib(-line.leftBytes)} missing` : `${gib(line.leftBytes)} left`;
    return [line.alias, line.quantization, `${line.rows} × ${line.contextTokens}`, sum, needs, result];
  });
  const advice = recommended === undefined ? 'nothing fits' : `\`models download ${recommended.alias}\``;
  const head = ['Model', 'Build', 'Requests × tokens', 'weights + KV cache + compute + reserve', 'Needs', 'Result'];
  return `## ${machine}\n\nLimit: ${gib(limitBytes)} GiB. Recommended: ${advice}.\n\n${table(head, rows)}`;
}

function gib(bytes) {
  return (bytes / GIB).toFixed(1);
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n') + '\n';
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TARGET, modelsDocs());
