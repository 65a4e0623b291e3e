/**
 * Writes docs/protocol.md from the schemas and limits of dist/protocol: `npm run docs`.
 * A field without a description, or a limit that has no words here, stops it.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CoordinatorMessage } from '../dist/protocol/coordinator-messages.js';
import * as limits from '../dist/protocol/limits.js';
import { ProviderMessage } from '../dist/protocol/provider-messages.js';

const TARGET = fileURLToPath(new URL('../docs/protocol.md', import.meta.url));

/** What each limit means, in the order of the table. */
const LIMIT_MEANINGS = {
  MAX_PROVIDER_INBOUND_BYTES: 'largest frame a provider takes',
  MAX_COORDINATOR_INBOUND_BYTES: 'largest frame a coordinator takes',
  MAX_REQUEST_BYTES: 'largest request body before it is sealed',
  HEARTBEAT_PERIOD_MS: 'between two heartbeats; the first one follows `register` at once',
  PING_PERIOD_MS: 'between two WebSocket pings of the provider',
  PONG_TIMEOUT_MS: 'without a pong for so long, the provider drops the connection',
  SLEEP_GAP_MS: 'a tick that comes so late means that the machine slept: the provider connects anew',
  RECONNECT_BASE_MS: 'first wait before connecting again; doubled each time, half of it random',
  RECONNECT_CAP_MS: 'longest wait before connecting again',
  CHALLENGE_PERIOD_MS: 'between two challenges',
  CHALLENGE_TIMEOUT_MS: 'for the answer to a challenge',
  CHALLENGE_FRESHNESS_MS: 'a machine whose last passed challenge is older gets no request',
  STALE_AFTER_MS: 'a machine silent for so long, seen on two sweeps in a row, is dropped',
  SWEEP_PERIOD_MS: 'between two sweeps',
  ACCEPT_TIMEOUT_MS: 'from the request to `inference_accepted`, and 1 ms for each estimated prompt token',
  CONTENT_TIMEOUT_MS: 'from `inference_accepted` to the first content, and between two chunks',
  ANSWER_TIMEOUT_MS: 'from the request to the end of its answer, however often something comes',
  SETTLE_GRACE_MS: 'after the client left, a last frame still counts for so long',
  CHUNK_BUFFER: 'chunks of one request that wait for a slow client',
  STRAY_CANCEL_PERIOD_MS: 'a chunk of an unknown request is answered with `cancel`, at most this often',
};

const INTRODUCTION = `# The protocol between provider and coordinator

<!-- Made by \`npm run docs\` from src/protocol. Change the schemas there, not this page. -->

A *provider* is a machine that runs models. A *coordinator* takes requests from clients and sends each to a provider.
The provider dials out, so it needs no open port. This page is the whole of what the two say to each other.

## Transport

* The provider opens a WebSocket at \`/ws/provider\` of the coordinator's address: \`https://host\` becomes
  \`wss://host/ws/provider\`, \`http://host:port\` becomes \`ws://host:port/ws/provider\`. No header, query or subprotocol is
  needed. Compression is off.
* Each text message is one JSON object with a string \`type\`. There is no envelope and no numbering.
* A frame that does not parse, or whose type is unknown, is logged and ignored; the connection stays. Unknown keys are
  dropped. So either side may learn new words without asking the other.
* An optional key that is absent means none, zero or false.
* The provider pings. When the connection is lost it waits, dials and registers anew, for ever. Nothing of the old
  connection lives on: its requests are stopped.

## Order on a connection

1. The provider sends \`register\`, once, first. There is no acknowledgement.
2. The coordinator sends a first \`attestation_challenge\`, and what it has to say: \`runtime_status\`, \`trust_status\`,
   \`desired_models\`.
3. Everything else, in any order: heartbeats, requests, further challenges, orders.

A request goes like this; \`request_id\` ties its frames together.

\`\`\`
coordinator                                     provider
  inference_request  ────────────────────────▶
                     ◀────────────────────────  inference_accepted          opened, parsed and admitted
                     ◀────────────────────────  inference_response_chunk    any number
  cancel             ────────────────────────▶                              at any time
                     ◀────────────────────────  inference_complete          or inference_error: exactly one, last
\`\`\`

After a \`cancel\` the last frame is \`inference_complete\` with the true counts if any text was sent, and
\`inference_error\` with status 499 if none was.

A coordinator that ends a connection closes it with code 1008 and a reason in words, which the provider tells its owner:
\`register first\`; \`attestation unresponsive — reconnect required\`, after six challenges in a row without an answer;
\`replaced by a newer connection\`, of the same key and account; \`the link of this machine was revoked\`. The provider
connects anew all the same.

## Sealing

Request bodies and answers are NaCl boxes: X25519, XSalsa20-Poly1305, a random nonce of 24 bytes for each.

* The provider makes a key pair when its process starts and registers the public half as \`public_key\`. The pair is never
  written to disk.
* For each attempt the coordinator makes a key pair of its own, and seals the request to the provider's key:
  \`ephemeral_public_key\` is the base64 of its public key, \`ciphertext\` the base64 of nonce and box. The box begins with
  its tag of 16 bytes, so anything shorter than 40 bytes is malformed.
* The provider seals each chunk to that key with its registered one; \`ephemeral_public_key\` of a chunk is exactly the
  registered string.
* Base64 is the standard alphabet with padding.

What cannot be opened is answered with \`inference_error\` and status 400, in one of these words:

* \`coordinator text request missing encrypted body\`
* \`missing or malformed ephemeral_public_key\`
* \`decryption failed\`
* \`invalid request body\`

### The sealed body

A chat request as JSON: \`model\` (the build id that was registered), \`messages\`, and the options of a chat completion.
Other dialects are lowered to chat before sealing; a body with an \`endpoint\` is answered with status 501. \`max_tokens\` is
there only if the client gave a bound. The provider lowers it to what the context has left after the prompt, and refuses
a prompt that does not fit with status 400 and the reason \`request_exceeds_context\`.

The coordinator may add one object that no client can set, because it removes what a client sent by that name:

\`\`\`json
{ "darkbloom": { "owner": true, "cache_scope": "5f0c…" } }
\`\`\`

\`owner\` is true when the request comes from the account that the provider is linked to. When requests wait, the
owner's go first. Absent means a stranger. Requests with the same \`cache_scope\`, an opaque string of at most 256
characters, may share the beginnings of their prompts in the provider's cache; ours stands for one account on one
machine. A request without one shares nothing: how fast an answer begins tells whether its prompt was there before.

\`darkbloom.op\` names an operation other than chat; a provider that does not know it answers 501:

| \`op\` | Body | Result |
| --- | --- | --- |
| \`count\` | as for chat | \`prompt_tokens\`: of the prompt, by the model's own template and tokenizer, whether it fits or not |
| \`embed\` | \`model\`, \`input\` (texts, or lists of tokens), \`dimensions\` | \`vectors\`: base64 of little-endian 32-bit floats, each of length 1; \`prompt_tokens\` that were read |

The answer is \`inference_accepted\`, one chunk \`data: {"object":"darkbloom.result","op":…,…}\`, and
\`inference_complete\`, whose usage for \`count\` is zero: counting costs nothing.

### The plaintext of a chunk

One server-sent event as text: \`data: \` and compact JSON of a \`chat.completion.chunk\`. In this order: a delta with the
role, deltas with \`content\`, one chunk with \`finish_reason\`, one with empty \`choices\` and \`usage\`. \`id\` and \`created\`
stay the same, \`model\` is the build id. The provider always sends these chunks, whether or not the client wants a stream.
The first chunk may carry \`darkbloom: { prompt_tokens, cached_tokens }\`, so that a client that must be told the prompt's
size at the start of its stream can be; \`cached_tokens\` of them were in the cache already. Other readers ignore it. The
usage chunk says the same in \`prompt_tokens_details.cached_tokens\`, if there were any. They cost what other tokens cost.

## Models

Clients name a model by its alias; frames carry build ids, such as \`local/darkbloom-tiny-chat-f16\` for the alias
\`darkbloom-tiny-chat\`.

\`weight_hash\` is the aggregate of the build's manifest: the SHA-256 of each file, as raw 32 bytes, joined in the byte order
of the files' paths, and the SHA-256 of that in lower-case hex. For a build of one file it is the SHA-256 of one raw
digest, not the file's own hash. A provider sends it only for files that it hashed itself.
`;

/** The text of docs/protocol.md. */
export function protocolDocs() {
  return [
    INTRODUCTION,
    '## Limits\n',
    limitsTable(),
    '## Provider to coordinator\n',
    ...ProviderMessage.options.map(frame),
    '## Coordinator to provider\n',
    ...CoordinatorMessage.options.map(frame),
  ].join('\n');
}

function limitsTable() {
  const unknown = Object.keys(limits).filter((name) => !(name in LIMIT_MEANINGS));
  if (unknown.length > 0) throw new Error(`tools/protocol-docs.mjs has no words for ${unknown.join(', ')}`);
  const rows = Object.entries(LIMIT_MEANINGS).map(([name, meaning]) => [
    `\`${name}\``,
    quantity(name, limits[name]),
    meaning,
  ]);
  return table(['Name', 'Value', 'Meaning'], rows);
}

/** The value with the unit that its name ends in. */
function quantity(name, value) {
  if (typeof value !== 'number') throw new Error(`there is no limit named ${name}`);
  if (name.endsWith('_BYTES')) return `${value / 1024 ** 2} MiB`;
  if (!name.endsWith('_MS')) return value.toLocaleString('en-US');
  return value >= 120_000 && value % 60_000 === 0 ? `${value / 60_000} min` : `${value / 1_000} s`;
}

function frame(schema) {
  const json = z.toJSONSchema(schema, { io: 'input' });
  const type = json.properties.type.const;
  const rows = fieldsOf(json, '').filter(([name]) => name !== '`type`');
  if (json.description === undefined) throw new Error(`${type} has no description`);
  return `### \`${type}\`\n\n${json.description}\n\n${table(['Field', 'Type', 'Required', 'Meaning'], rows)}`;
}

/** The rows of an object's fields, each followed by those of the objects in it. */
function fieldsOf(schema, prefix) {
  return Object.entries(schema.properties).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    if (field.description === undefined && path !== 'type') throw new Error(`the field ${path} has no description`);
    const row = [`\`${path}\``, typeOf(field), schema.required?.includes(name) ? 'yes' : 'no', field.description];
    const inner = field.items ?? field;
    const isObject = inner.properties !== undefined;
    return [row, ...(isObject ? fieldsOf(inner, `${path}${field.items ? '[]' : ''}.`) : [])];
  });
}

function typeOf(field) {
  if (field.enum) return field.enum.map((word) => `\`"${word}"\``).join(', ');
  if (field.anyOf) return field.anyOf.map(typeOf).join(' or ');
  if (Array.isArray(field.type)) return field.type.join(' or ');
  switch (field.type) {
    case 'array':
      return `list of ${typeOf(field.items)}s`;
    case 'object':
      return field.properties ? 'object' : `map of ${typeOf(field.additionalProperties)}s`;
    case undefined:
      return 'anything';
    default:
      return field.type;
  }
}

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n') + '\n';
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TARGET, protocolDocs());
