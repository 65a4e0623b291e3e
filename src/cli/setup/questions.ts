import { type CANCEL_SYMBOL, confirm, isCancel, select } from '@clack/prompts';
import { DarkbloomError } from '../../errors.js';
import { gib, inWords } from '../../util/byte-words.js';
import type { Proposal } from './proposals.js';

/** The questions of the first run, at a terminal. Each has a flag of `start` that answers it. */

export async function askModel(proposals: readonly Proposal[], recommended: Proposal): Promise<Proposal> {
  const width = Math.max(...proposals.map((each) => labelOf(each).length));
  const options = proposals.map((proposal, index) => ({
    value: String(index),
    label: `${labelOf(proposal).padEnd(width)}  ${sourceOf(proposal)}`,
  }));
  const message = 'Which model should it serve? More can come later.';
  const initialValue = String(proposals.indexOf(recommended));
  const chosen = answered(await select({ message, options, initialValue }));
  const proposal = proposals[Number(chosen)];
  if (proposal === undefined) throw new TypeError(`There is no choice ${chosen}.`);
  return proposal;
}

function labelOf(proposal: Proposal): string {
  return proposal.kind === 'demo' ? proposal.name : `${proposal.name} ${proposal.quantization}`;
}

function sourceOf(proposal: Proposal): string {
  switch (proposal.kind) {
    case 'download':
      return `${inWords(proposal.bytes)} to download`;
    case 'adopt':
      return `here already, from ${APPLICATIONS[proposal.candidate.foundIn]}`;
    case 'demo':
      return 'here already, for trying things out';
    default:
      return proposal satisfies never;
  }
}

const APPLICATIONS = { ollama: 'Ollama', 'lm-studio': 'LM Studio', 'hugging-face': 'Hugging Face' } as const;

/** @param neededBytes memory of the model */
export async function askKeepLoaded(neededBytes: number): Promise<boolean> {
  const takes = `${gib(neededBytes)} GiB`;
  return answered(
    await confirm({
      message: `Keep it loaded all the time? Answers begin at once; ${takes} are never free.`,
      active: 'Yes',
      inactive: 'No, load it when a request comes',
      initialValue: false,
    }),
  );
}

export async function askBackground(): Promise<boolean> {
  return answered(
    await confirm({
      message: 'Run in the background, from login to login?',
      active: 'Yes',
      inactive: 'No, in this terminal until Ctrl-C',
      initialValue: true,
    }),
  );
}

/** @throws DarkbloomError `cancelled` for Ctrl-C and Escape. */
function answered<Answer>(answer: Answer | typeof CANCEL_SYMBOL): Answer {
  if (!isCancel(answer)) return answer;
  throw new DarkbloomError('cancelled', 'Stopped. Nothing was changed; `darkbloom-provider start` asks again.');
}
