/**
 * Chat templates in the manner of each family: what its published template does with roles, tools, calls, results and
 * thoughts, in our own few lines. `control` and `userDefined` are the tokens of its vocabulary that matter here.
 */
export interface MadeTemplate {
  template: string | undefined;
  bosToken: string;
  eosToken: string;
  control: string[];
  userDefined: string[];
}

const CHATML_TOKENS = {
  bosToken: '',
  eosToken: '<|im_end|>',
  control: ['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
};
const THINK = ['<think>', '</think>'];
const CALL = ['<tool_call>', '</tool_call>', '<tool_response>', '</tool_response>'];

const HERMES_HEAD = `
{%- if tools %}{{ '<|im_start|>system\\n' }}{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}
{{- '# Tools\\n<tools>' }}{% for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}{{ '\\n</tools>\\n' }}`;
const HERMES_PLAIN_SYSTEM = `{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}{{ '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}
{%- if message.reasoning_content is defined and loop.last %}{{ '<think>\\n' + message.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}
{{- message.content }}
{%- for call in message.tool_calls or [] %}`;
const HERMES_TAIL = `{% endfor %}{{ '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}{% if loop.first or loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}`;

/** Qwen3: thinks unless told not to, and opens its thoughts itself. */
const QWEN3: MadeTemplate = {
  template:
    HERMES_HEAD +
    `{{- '<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>' }}` +
    HERMES_PLAIN_SYSTEM +
    `{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}` +
    HERMES_TAIL +
    `{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}`,
  ...CHATML_TOKENS,
  userDefined: [...THINK, ...CALL],
};

/** Qwen3.5: calls with tags, and the prompt opens the thoughts. */
const QWEN_CODER: MadeTemplate = {
  template:
    HERMES_HEAD +
    `{{- '<tool_call>\\n<function=NAME>\\n<parameter=KEY>\\nvalue\\n</parameter>\\n</function>\\n</tool_call>' }}` +
    HERMES_PLAIN_SYSTEM +
    `{{- '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' }}
{%- for key, value in call.function.arguments | items %}{{ '<parameter=' + key + '>\\n' }}{{ value if value is string else value | tojson }}{{ '\\n</parameter>\\n' }}{% endfor %}
{{- '</function>\\n</tool_call>' }}` +
    HERMES_TAIL +
    `{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}{% endif %}`,
  ...CHATML_TOKENS,
  userDefined: [...THINK, ...CALL],
};

const CHATML: MadeTemplate = { template: undefined, ...CHATML_TOKENS, userDefined: [] };

/** Llama 3.1: tools in the first user message, one call a message, results from `ipython`. */
const LLAMA: MadeTemplate = {
  template: `{{- bos_token }}{% set turns = messages %}
{%- if messages[0].role == 'system' %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' + messages[0].content | trim + '<|eot_id|>' }}{% set turns = messages[1:] %}{% endif %}
{%- for message in turns %}
{%- if 'tool_calls' in message %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception('single calls only') }}{% endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}{{ call.arguments | tojson }}{{ '}<|eot_id|>' }}
{%- elif message.role == 'tool' %}{{ '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{{ message.content | tojson }}{{ '<|eot_id|>' }}
{%- else %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
{%- if loop.first and tools is not none %}
{{- 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.\\n\\n' }}
{%- for tool in tools %}{{ tool | tojson(indent=4) }}{{ '\\n\\n' }}{% endfor %}{% endif %}
{{- message.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}`,
  bosToken: '<|begin_of_text|>',
  eosToken: '<|eot_id|>',
  control: ['<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>', '<|python_tag|>'],
  userDefined: [],
};

const MISTRAL_TOKENS = {
  bosToken: '<s>',
  eosToken: '</s>',
  control: [
    ...['<s>', '</s>', '[INST]', '[/INST]', '[AVAILABLE_TOOLS]', '[/AVAILABLE_TOOLS]', '[TOOL_CALLS]', '[ARGS]'],
    ...['[CALL_ID]', '[TOOL_RESULTS]', '[/TOOL_RESULTS]', '[THINK]', '[/THINK]'],
  ],
  userDefined: [],
};
const MISTRAL_HEAD = `{{- bos_token }}{% set turns = messages %}{% set system = '' %}
{%- if messages[0].role == 'system' %}{% set system = messages[0].content + '\\n\\n' %}{% set turns = messages[1:] %}{% endif %}
{%- set users = turns | selectattr('role', 'equalto', 'user') | list %}{% set ns = namespace(index=0) %}
{%- for message in turns %}{% if not (message.role == 'tool' or message.tool_calls is defined) %}
{%- if (message.role == 'user') != (ns.index % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}{% set ns.index = ns.index + 1 %}{% endif %}{% endfor %}
{%- for message in turns %}
{%- if message.role == 'user' %}
{%- if tools is not none and message == users[-1] %}{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}
{{- '[INST]' + (system if loop.first else '') + message.content + '[/INST]' }}
{%- elif message.tool_calls is defined %}`;
const MISTRAL_IDS = `{%- if call.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}`;
const MISTRAL_TAIL = `{{- eos_token }}
{%- elif message.role == 'tool' %}{% if message.tool_call_id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}
{{- '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
{%- else %}{{ message.content + eos_token }}{% endif %}{% endfor %}`;

/** Mistral Nemo: a list of calls, with ids of nine letters. */
const MISTRAL: MadeTemplate = {
  template:
    MISTRAL_HEAD +
    `{{- '[TOOL_CALLS][' }}{% for call in message.tool_calls %}${MISTRAL_IDS}{% set out = call.function | tojson %}{{ out[:-1] + ', "id": "' + call.id + '"}' }}{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}{{- ']' }}` +
    MISTRAL_TAIL,
  ...MISTRAL_TOKENS,
};

/** Devstral and later: each call with its name, and thoughts between marks. */
const MISTRAL_NAMED: MadeTemplate = {
  template:
    MISTRAL_HEAD +
    `{{- '[THINK]' + message.reasoning_content + '[/THINK]' if message.reasoning_content is defined else '' }}` +
    `{%- for call in message.tool_calls %}{{ '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}{% endfor %}` +
    MISTRAL_TAIL,
  ...MISTRAL_TOKENS,
};

/** Mistral Small 3.2: with the id of each call. */
const MISTRAL_NUMBERED: MadeTemplate = {
  template:
    MISTRAL_HEAD +
    `{%- for call in message.tool_calls %}${MISTRAL_IDS}{{ '[TOOL_CALLS]' + call.function.name + '[CALL_ID]' + call.id + '[ARGS]' + call.function.arguments | tojson }}{% endfor %}` +
    MISTRAL_TAIL,
  ...MISTRAL_TOKENS,
};

/** Gemma 3: no system role, no tools, strict turns. */
const GEMMA3: MadeTemplate = {
  template: `{{- bos_token }}{% for message in messages %}
{%- if message.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' + message.content | trim + '<end_of_turn>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}`,
  bosToken: '<bos>',
  eosToken: '<end_of_turn>',
  control: ['<bos>', '<start_of_turn>', '<end_of_turn>'],
  userDefined: ['\n\n', '  ', '<table>'],
};

const gemmaValue = (quote: string) => `{%- macro value(it) %}{% if it is string %}{{ '${quote}' + it + '${quote}' }}
{%- elif it is boolean %}{{ 'true' if it else 'false' }}
{%- elif it is mapping %}{{ '{' }}{% for k, v in it | dictsort %}{{ k + ':' }}{{ value(v) }}{% if not loop.last %},{% endif %}{% endfor %}{{ '}' }}
{%- elif it is sequence %}{{ '[' }}{% for v in it %}{{ value(v) }}{% if not loop.last %},{% endif %}{% endfor %}{{ ']' }}
{%- else %}{{ it }}{% endif %}{% endmacro %}`;

/** Gemma 4: results in the turn of the model, thoughts in a channel. */
const GEMMA4: MadeTemplate = {
  template:
    gemmaValue('<|"|>') +
    `{{- bos_token }}{% set turns = messages %}{% set ns = namespace(open=false) %}
{%- if tools or enable_thinking or messages[0].role == 'system' %}{{ '<|turn>system\\n' }}{% if enable_thinking %}{{ '<|think|>\\n' }}{% endif %}
{%- if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set turns = messages[1:] %}{% endif %}
{%- for tool in tools or [] %}{{ '<|tool>declaration:' + tool.function.name + '{description:<|"|>' + tool.function.description + '<|"|>,parameters:' }}{{ value(tool.function.parameters) }}{{ '}<tool|>' }}{% endfor %}
{{- '<turn|>\\n' }}{% endif %}
{%- for message in turns %}{% set ns.open = false %}{{ '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{%- if message.reasoning is defined and message.tool_calls %}{{ '<|channel>thought\\n' + message.reasoning + '\\n<channel|>' }}{% endif %}
{%- for call in message.tool_calls or [] %}{{ '<|tool_call>call:' + call.function.name }}{{ value(call.function.arguments) }}{{ '<tool_call|>' }}{% endfor %}
{%- for result in message.tool_responses or [] %}{{ '<|tool_response>response:' + result.name + '{value:' }}{{ value(result.response) }}{{ '}<tool_response|>' }}{% set ns.open = true %}{% endfor %}
{{- message.content | trim }}{% if not ns.open or message.content %}{{ '<turn|>\\n' }}{% set ns.open = false %}{% endif %}{% endfor %}
{%- if add_generation_prompt and not ns.open %}{{ '<|turn>model\\n' }}{% if not enable_thinking %}{{ '<|channel>thought\\n<channel|>' }}{% endif %}{% endif %}`,
  bosToken: '<bos>',
  eosToken: '<turn|>',
  control: [
    ...['<bos>', '<|turn>', '<turn|>', '<|think|>', '<|tool>', '<tool|>', '<|tool_call>', '<tool_call|>'],
    ...['<|tool_response>', '<tool_response|>', '<|"|>', '<|channel>', '<channel|>'],
  ],
  userDefined: ['\n\n', '<table>'],
};

/** FunctionGemma: tools in a developer turn. */
const FUNCTION_GEMMA: MadeTemplate = {
  template:
    gemmaValue('<escape>') +
    `{{- bos_token }}{% if tools or messages[0].role == 'system' %}{{ '<start_of_turn>developer\\n' }}
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{%- for tool in tools or [] %}{{ '<start_function_declaration>declaration:' + tool.function.name + '{description:<escape>' + tool.function.description + '<escape>,parameters:' }}{{ value(tool.function.parameters) }}{{ '}<end_function_declaration>' }}{% endfor %}{{ '<end_of_turn>\\n' }}{% endif %}
{%- for message in messages if message.role != 'system' %}
{%- if message.role == 'tool' %}{{ '<start_function_response>response:' + message.name + '{value:' }}{{ value(message.content) }}{{ '}<end_function_response>' }}
{%- else %}{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}{{ '<start_function_call>call:' + call.function.name }}{{ value(call.function.arguments) }}{{ '<end_function_call>' }}{% endfor %}
{{- '<end_of_turn>\\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}`,
  bosToken: '<bos>',
  eosToken: '<end_of_turn>',
  control: [
    ...['<bos>', '<start_of_turn>', '<end_of_turn>', '<escape>', '<start_function_call>', '<end_function_call>'],
    ...['<start_function_response>', '<end_function_response>'],
    ...['<start_function_declaration>', '<end_function_declaration>'],
  ],
  userDefined: ['\n\n'],
};

/** gpt-oss: messages with channels, one call a message, thoughts of calls kept. */
const HARMONY: MadeTemplate = {
  template: `{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y') + '\\nReasoning: ' + (reasoning_effort or 'medium') + '<|end|>' }}
{%- set turns = messages %}{% set ns = namespace(name='') %}{% set instructions = '' %}
{%- if messages[0].role == 'system' %}{% set instructions = messages[0].content %}{% set turns = messages[1:] %}{% endif %}
{%- if instructions or tools %}{{ '<|start|>developer<|message|>' + instructions }}
{%- for tool in tools or [] %}{{ '\\n// ' + tool.function.description + '\\ntype ' + tool.function.name + ' = (_: {' }}{% for key, schema in (tool.function.parameters.properties or {}).items() %}{{ key + ': ' + ('string' if schema.type == 'string' else 'any') + ', ' }}{% endfor %}{{ '}) => any;' }}{% endfor %}
{{- '<|end|>' }}{% endif %}
{%- for message in turns %}
{%- if message.role == 'assistant' and 'tool_calls' in message %}
{%- if message.content and message.thinking %}{{ raise_exception('either content or thinking') }}{% endif %}
{%- if message.content or message.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + (message.content or message.thinking) + '<|end|>' }}{% endif %}
{%- set call = message.tool_calls[0].function %}{% set ns.name = call.name %}
{{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}{{ call.arguments | tojson }}{{ '<|call|>' }}
{%- elif message.role == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
{%- elif message.role == 'tool' %}{{ '<|start|>functions.' + ns.name + ' to=assistant<|channel|>commentary<|message|>' }}{{ message.content | tojson }}{{ '<|end|>' }}
{%- else %}{{ '<|start|>user<|message|>' + message.content + '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}`,
  bosToken: '<|startoftext|>',
  eosToken: '<|return|>',
  control: [
    ...[
      '<|startoftext|>',
      '<|return|>',
      '<|start|>',
      '<|end|>',
      '<|message|>',
      '<|channel|>',
      '<|constrain|>',
      '<|call|>',
    ],
  ],
  userDefined: [],
};

const DEEPSEEK_TOKENS = {
  bosToken: '<｜begin▁of▁sentence｜>',
  eosToken: '<｜end▁of▁sentence｜>',
  control: [
    ...['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>', '<｜User｜>', '<｜Assistant｜>', '<｜tool▁calls▁begin｜>'],
    ...['<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>', '<｜tool▁sep｜>'],
    ...['<｜tool▁output▁begin｜>', '<｜tool▁output▁end｜>'],
  ],
  userDefined: THINK,
};
const deepseek = (
  call: string,
) => `{{- bos_token }}{% for message in messages if message.role == 'system' %}{{ message.content }}{% endfor %}
{%- for tool in tools or [] %}{{ '\\n### ' + tool.function.name + '\\n' + tool.function | tojson }}{% endfor %}
{%- for message in messages %}
{%- if message.role == 'user' %}{{ '<｜User｜>' + message.content }}
{%- elif message.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
{%- elif message.role == 'assistant' and message.tool_calls %}{{ '<｜Assistant｜>' + message.content + '<｜tool▁calls▁begin｜>' }}
{%- for call in message.tool_calls %}{{ '<｜tool▁call▁begin｜>' }}${call}{{ '<｜tool▁call▁end｜>' }}{% endfor %}{{ '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
{%- elif message.role == 'assistant' %}{{ '<｜Assistant｜>' + message.content + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% if enable_thinking %}{{ '<think>\\n' }}{% endif %}{% endif %}`;

/** DeepSeek V3.1. */
const DEEPSEEK: MadeTemplate = {
  template: deepseek(`{{ call.function.name + '<｜tool▁sep｜>' + call.function.arguments | tojson }}`),
  ...DEEPSEEK_TOKENS,
};

/** DeepSeek R1: arguments come as text. */
const DEEPSEEK_FENCED: MadeTemplate = {
  template: deepseek(
    "{{ 'function<｜tool▁sep｜>' + call.function.name + '\\n```json\\n' + call.function.arguments + '\\n```' }}",
  ),
  ...DEEPSEEK_TOKENS,
};

/** By the name of the syntax that each leads to; `chatml` has no template at all. */
export const TEMPLATES = {
  chatml: CHATML,
  hermes: QWEN3,
  'qwen-coder': QWEN_CODER,
  llama: LLAMA,
  mistral: MISTRAL,
  'mistral-named': MISTRAL_NAMED,
  'mistral-numbered': MISTRAL_NUMBERED,
  gemma3: GEMMA3,
  gemma4: GEMMA4,
  functiongemma: FUNCTION_GEMMA,
  harmony: HARMONY,
  deepseek: DEEPSEEK,
  'deepseek-fenced': DEEPSEEK_FENCED,
};
export type Family = keyof typeof TEMPLATES;
export const FAMILIES = Object.keys(TEMPLATES) as Family[];
