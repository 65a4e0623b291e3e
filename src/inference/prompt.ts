import { randomInt } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { DarkbloomError } from '../errors.js';
import type { ChatMessage } from './types.js';

/** A stretch of the prompt: text that is only text, or one control token of the model's vocabulary. */
export type PromptRun = { type: 'text'; text: string } | { type: 'control'; token: string };

export interface TemplateFacts {
  /** The GGUF's `tokenizer.chat_template`; absent: ChatML. */
  template: string | undefined;
  bosToken: string;
  eosToken: string;
}

const CHATML =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Renders a model's own chat template so that message contents stay plain text. */
export class PromptTemplate {
  readonly #template: Template;
  readonly #facts: TemplateFacts;

  /** @throws Error when the template is not valid Jinja. */
  constructor(facts: TemplateFacts) {
    this.#template = new Template(facts.template ?? CHATML);
    this.#facts = facts;
  }

  /**
   * The prompt of a conversation, up to where the answer begins. Contents go through the template as placeholders
   * and come back as text: what a user writes never becomes a control token.
   * `controlTokens` are the texts of the vocabulary's control tokens; they count in the template's own text alone.
   *
   * @throws DarkbloomError `invalid_request` when the template refuses the conversation.
   */
  render(messages: readonly ChatMessage[], controlTokens: readonly string[]): PromptRun[] {
    const nonce = randomInt(1e9);
    const placeholder = (index: number) => `\uE000${nonce}.${index}\uE001`;
    const { bosToken: bos_token, eosToken: eos_token } = this.#facts;
    let rendered: string;
    try {
      rendered = this.#template.render({
        messages: messages.map((message, index) => ({
          ...message,
          content: message.content === '' ? '' : placeholder(index),
        })),
        add_generation_prompt: true,
        bos_token,
        eos_token,
      });
    } catch (cause) {
      throw new DarkbloomError(
        'invalid_request',
        "The model's chat template refused this order of roles. Most models want user and assistant in turns.",
        { param: 'messages', cause },
      );
    }
    const parts = rendered.split(new RegExp(`\uE000${nonce}\\.(\\d+)\uE001`, 'u'));
    return joinRuns(
      parts.flatMap((part, index) =>
        // split() puts the captured message numbers at the odd places
        index % 2 === 0 ? splitControl(part, controlTokens) : [plain(messages[Number(part)]?.content ?? '')],
      ),
    );
  }
}

/** True if the template renders a plain conversation and keeps all of it. */
export function templateRenders(facts: TemplateFacts): boolean {
  const conversation: ChatMessage[] = [
    { role: 'user', content: 'first' },
    { role: 'assistant', content: 'second' },
    { role: 'user', content: 'third' },
  ];
  try {
    const runs = new PromptTemplate(facts).render(conversation, []);
    const text = runs.map((run) => (run.type === 'text' ? run.text : run.token)).join('');
    return conversation.every(({ content }) => text.includes(content));
  } catch {
    return false;
  }
}

function plain(text: string): PromptRun {
  return { type: 'text', text };
}

/** Cuts template text at the control tokens in it, the longest first where one is the beginning of another. */
function splitControl(text: string, controlTokens: readonly string[]): PromptRun[] {
  const alternatives = controlTokens
    .filter((token) => token !== '')
    .sort((a, b) => b.length - a.length)
    .map(escapeForRegExp);
  if (alternatives.length === 0) return [plain(text)];
  return text
    .split(new RegExp(`(${alternatives.join('|')})`, 'u'))
    .map((part, index) => (index % 2 === 0 ? plain(part) : { type: 'control', token: part }));
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** Neighbouring texts become one, so that they are tokenized as the model saw them in training. */
function joinRuns(runs: readonly PromptRun[]): PromptRun[] {
  const joined: PromptRun[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    if (run.type === 'text' && last?.type === 'text') last.text += run.text;
    else if (run.type === 'control' || run.text !== '') joined.push({ ...run });
  }
  return joined;
}
