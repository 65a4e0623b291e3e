import { randomInt } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { DarkbloomError } from '../errors.js';
import { ControlTokens } from './control-tokens.js';
import { guardedJson, unguarded } from './guarded-text.js';
import { promptedTools } from './prompted-tools.js';
import { GEMMA3 } from './syntax/gemma.js';
import { HARMONY } from './syntax/harmony.js';
import { HERMES } from './syntax/hermes.js';
import type { Syntax } from './syntax/syntax.js';
import { syntaxOf } from './syntax/syntax-of.js';
import { messagesForTemplate, toolsForTemplate, withNames, type Abilities } from './template-messages.js';
import { offeredTools, type ChatMessage, type ChatRequest, type JsonObject, type Tool } from './types.js';

/** A stretch of the prompt: text that is only text, or one control token of the model's vocabulary. */
export type PromptRun = { type: 'text'; text: string } | { type: 'control'; token: string };

export interface TemplateFacts {
  /** The GGUF's `tokenizer.chat_template`; absent: ChatML. */
  template: string | undefined;
  bosToken: string;
  eosToken: string;
}

export interface Prompt {
  runs: PromptRun[];
  /** With what the answer goes on. */
  begins: 'text' | 'reasoning';
  /** It may open thoughts of its own accord first. */
  mayThink: boolean;
}

/** What of a request the prompt is made of. */
export type Conversation = Pick<ChatRequest, 'messages' | 'tools' | 'toolChoice' | 'templateArguments'>;

const CHATML =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Characters of the prompt's end in which the beginning of thoughts is looked for. */
const TAIL_CHARACTERS = 64;

/** Renders a model's own chat template so that what a request holds stays plain text. */
export class PromptTemplate {
  readonly #template: Template;
  readonly #facts: TemplateFacts;
  readonly #tokens: ControlTokens;
  readonly #abilities: Abilities;
  #syntax: Syntax;

  /**
   * `controlTokens` are the texts of the vocabulary's control tokens; they count in the template's own text alone.
   *
   * @throws DarkbloomError `model_corrupt` when the template is not valid Jinja or does not render a single message.
   */
  constructor(facts: TemplateFacts, controlTokens: readonly string[]) {
    try {
      this.#template = new Template(facts.template ?? CHATML);
      this.#facts = facts;
      this.#tokens = new ControlTokens(controlTokens);
      const known = syntaxOf(facts.template);
      this.#syntax = known ?? HERMES;
      this.#abilities = this.#tryAbilities();
      // calls in a syntax that nobody reads help nobody: such a model is asked for Hermes calls
      this.#abilities.tools &&= known !== undefined;
      if (!this.#abilities.tools && known !== GEMMA3) this.#syntax = HERMES;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : 'unknown';
      throw new DarkbloomError(
        'model_corrupt',
        `The model's chat template cannot be used (${why}). Take another build of this model.`,
        { cause },
      );
    }
  }

  /** How the model's answers are read. */
  get syntax(): Syntax {
    return this.#syntax;
  }

  /** Whether the template itself describes tools; if not, the system text does. */
  get knowsTools(): boolean {
    return this.#abilities.tools;
  }

  /**
   * The prompt of a conversation, up to where the answer begins.
   *
   * @throws DarkbloomError `invalid_request` when the template refuses the conversation.
   */
  render({ messages, tools, toolChoice, templateArguments }: Conversation): Prompt {
    let rendered: string;
    try {
      rendered = this.#render(messages, offeredTools({ tools, toolChoice }), this.#abilities, templateArguments);
    } catch (cause) {
      throw new DarkbloomError(
        'invalid_request',
        "'messages': the model's chat template refused this order of roles. Most models want user and assistant in turns.",
        { param: 'messages', cause },
      );
    }
    const tail = rendered.slice(-TAIL_CHARACTERS);
    const begins = this.#syntax.openThought?.test(tail) === true ? 'reasoning' : 'text';
    const [open, close] = this.#syntax.thoughtMarks ?? [];
    const knowsThoughts = open !== undefined && this.#facts.template?.includes(open) === true;
    const mayThink = begins === 'text' && knowsThoughts && !tail.trimEnd().endsWith(close ?? open);
    return { runs: runsOf(rendered, this.#tokens), begins, mayThink };
  }

  #render(
    messages: readonly ChatMessage[],
    tools: readonly Tool[],
    abilities: Abilities,
    templateArguments: JsonObject = {},
  ): string {
    const named = withNames(messages);
    const written = abilities.tools ? named : promptedTools(named, tools, this.#syntax);
    const given = Object.entries(templateArguments).map(([name, value]) => [name, guardedJson(value, this.#tokens)]);
    return this.#template.render({
      ...(Object.fromEntries(given) as JsonObject),
      messages: messagesForTemplate(written, abilities, this.#tokens),
      tools: abilities.tools && tools.length > 0 ? toolsForTemplate(tools, this.#tokens) : abilities.noTools,
      add_generation_prompt: true,
      bos_token: this.#facts.bosToken,
      eos_token: this.#facts.eosToken,
    });
  }

  /** @throws Error of Jinja when not even one message of a user is rendered. */
  #tryAbilities(): Abilities {
    const abilities: Abilities = {
      system: true,
      tools: true,
      noTools: null,
      textArguments: false,
      singleCalls: false,
      foldedResults: this.#facts.template?.includes('tool_responses') === true,
      eitherThoughtOrText: this.#syntax === HARMONY,
    };
    const word = (name: string) => `${name}${randomInt(1e9)}`;
    const [user, system, tool, key, value, result, other] = WORDS_TO_TRY.map(word) as Words;
    const question: ChatMessage = { role: 'user', content: user };
    const keeps = (tried: Abilities, messages: ChatMessage[], tools: Tool[], words: string[]): boolean => {
      try {
        const rendered = unguarded(this.#render(messages, tools, tried));
        return words.every((each) => rendered.includes(each));
      } catch {
        return false;
      }
    };
    if (!keeps(abilities, [question], [], [user])) abilities.noTools = [];
    this.#render([question], [], abilities);
    abilities.system = keeps(abilities, [{ role: 'system', content: system }, question], [], [system, user]);
    const properties = {
      [key]: { type: 'string', description: key },
      count: { type: 'integer' },
      list: { type: 'array', items: { type: 'string' } },
    };
    const parameters = { type: 'object', properties, required: [key] };
    const tools: Tool[] = [{ name: tool, description: tool, parameters }];
    const turn = (...values: string[]): ChatMessage[] => [
      question,
      {
        role: 'assistant',
        content: '',
        toolCalls: values.map((each) => ({ id: each, name: tool, arguments: JSON.stringify({ [key]: each }) })),
      },
      ...values.map((each, nth): ChatMessage => ({
        role: 'tool',
        content: `${result}${nth}`,
        toolCallId: each,
        name: tool,
      })),
    ];
    const single = [key, value, result];
    if (keeps(abilities, [question], tools, [tool])) {
      abilities.textArguments = !keeps(abilities, turn(value), tools, single);
      abilities.tools = keeps(abilities, turn(value), tools, single);
    } else {
      abilities.tools = false;
    }
    abilities.singleCalls = abilities.tools && !keeps(abilities, turn(value, other), tools, [value, other]);
    return abilities;
  }
}

const WORDS_TO_TRY = ['user', 'system', 'tool', 'key', 'value', 'result', 'other'];
type Words = [user: string, system: string, tool: string, key: string, value: string, result: string, other: string];

/** True if the template renders a plain conversation and keeps all of it. */
export function templateRenders(facts: TemplateFacts): boolean {
  const messages: ChatMessage[] = [
    { role: 'user', content: 'first' },
    { role: 'assistant', content: 'second' },
    { role: 'user', content: 'third' },
  ];
  try {
    const template = new PromptTemplate(facts, []);
    const { runs } = template.render({ messages, tools: [], toolChoice: 'auto', templateArguments: {} });
    const text = runs.map((run) => (run.type === 'text' ? run.text : run.token)).join('');
    return messages.every(({ content }) => text.includes(content));
  } catch {
    return false;
  }
}

/** Cuts what a template wrote at the control tokens in it. Neighbouring texts are one, so that they are tokenized as the
 *  model saw them in training. */
function runsOf(rendered: string, tokens: ControlTokens): PromptRun[] {
  const runs: PromptRun[] = [];
  const addText = (guardedText: string) => {
    const text = unguarded(guardedText);
    if (text !== '') runs.push({ type: 'text', text });
  };
  let done = 0;
  for (let found = tokens.find(rendered); found !== undefined; found = tokens.find(rendered, done)) {
    addText(rendered.slice(done, found.at));
    runs.push({ type: 'control', token: found.token });
    done = found.at + found.token.length;
  }
  addText(rendered.slice(done));
  return runs;
}
