import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GREEDY, PLAIN, type JsonObject } from '../../src/inference/types.js';
import { openRuntime } from '../../src/runner/llama-runtime.js';
import type { Runtime } from '../../src/runner/runtime.js';
import type { GenerateOrder } from '../../src/runner-protocol/messages.js';
import { randomModel } from '../support/made-models.js';
import { runOrders } from '../support/run-orders.js';
import { finishedPart, forPart, objectSchemas, validatorOf } from '../support/schemas.js';

/** Answers held to a schema, by a model that writes anything. */

const SCHEMAS = 500;
const MAX_CUT = 25;
const MAX_TOKENS = 400;

let runtime: Runtime;
beforeAll(async () => {
  const order = { type: 'load', rows: 16, contextTokens: 512, threads: 1 } as const;
  runtime = await openRuntime({ ...order, modelPath: randomModel() }, () => undefined);
});
afterAll(() => runtime.close());

/** Each byte is a token of the model. */
const byteToken = (byte: number) => String(byte + 3);

const logitBias = {
  [byteToken(0x22)]: 7, // strings come to an end
  // The first bytes of characters that this model would go on to encode in more bytes than they need. No trained model
  // does; the runtime takes them for the characters, and decoders do not.
  [byteToken(0xe0)]: -100,
  [byteToken(0xf0)]: -100,
};

const order = (schema: JsonObject, seed: number): Omit<GenerateOrder, 'id'> => ({
  type: 'generate',
  messages: [{ role: 'user', content: 'go' }],
  sampling: { ...GREEDY, temperature: 1, seed },
  stop: [],
  ...PLAIN,
  logitBias,
  format: { type: 'schema', schema },
  maxTokens: MAX_TOKENS,
});

/** The same value without what its schema requires first, and with something that the schema does not know. */
function mutated(value: JsonObject, schema: JsonObject): JsonObject[] {
  const [first = ''] = schema['required'] as string[];
  const { [first]: _, ...others } = value;
  return [others, { ...value, '': null }];
}

test('what is written validates against the schema; what the limit cuts off is the beginning of such a value', async () => {
  const schemas = fc.sample(objectSchemas, { numRuns: SCHEMAS, seed: 7 });
  const answers = await runOrders(runtime, schemas.map(order));
  const cut = answers.filter(({ end }) => end.type === 'done' && end.finishReason === 'length');
  expect(cut.length).toBeLessThanOrEqual(MAX_CUT);
  for (const [index, { text, end }] of answers.entries()) {
    const schema = schemas[index] ?? {};
    const about = () => `${JSON.stringify(schema)}\n${text}`;
    expect(end.type, about()).toBe('done');
    if (end.type === 'done' && end.finishReason === 'length') {
      expect(validatorOf(forPart(schema) as JsonObject)(finishedPart(text)), about()).toBe(true);
      continue;
    }
    const validate = validatorOf(schema);
    const value = JSON.parse(text) as JsonObject;
    expect(validate(value), about()).toBe(true);
    for (const other of mutated(value, schema)) expect(validate(other), about()).toBe(false);
  }
});
