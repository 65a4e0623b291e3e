import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { decodeCoordinatorFrame, decodeProviderFrame, encode } from '../../src/protocol/codec.js';
import { CoordinatorMessage } from '../../src/protocol/coordinator-messages.js';
import { ProviderMessage } from '../../src/protocol/provider-messages.js';
import { hasSharedFixtures, ownFixture, sharedFixture } from '../support/shared-fixtures.js';

const Direction = z.enum(['provider_to_coordinator', 'coordinator_to_provider']);
type Direction = z.infer<typeof Direction>;

const WireFile = z.object({
  direction: Direction,
  cases: z.array(z.object({ name: z.string(), message_type: z.string(), wire: z.string(), exact_bytes: z.boolean() })),
});
const LaterFile = z.object({
  cases: z.array(z.object({ id: z.string(), direction: Direction, message: z.looseObject({ type: z.string() }) })),
});
const SamplesFile = z.object({ messages: z.record(z.string(), z.looseObject({ type: z.string() })) });

interface GoldenFrame {
  name: string;
  direction: Direction;
  type: string;
  wire: string;
  /** Nothing in it is unknown to us: it comes out as it went in. */
  exact: boolean;
}

const DECODERS = { provider_to_coordinator: decodeProviderFrame, coordinator_to_provider: decodeCoordinatorFrame };
const KNOWN: Record<Direction, readonly string[]> = {
  provider_to_coordinator: ProviderMessage.options.map(typeOf),
  coordinator_to_provider: CoordinatorMessage.options.map(typeOf),
};

function typeOf(schema: { shape: { type: z.ZodLiteral<string> } }): string {
  return schema.shape.type.value;
}

function framesOf(file: unknown): GoldenFrame[] {
  const { direction, cases } = WireFile.parse(file);
  return cases.map(({ name, message_type: type, wire, exact_bytes: exact }) => ({
    name,
    direction,
    type,
    wire,
    exact,
  }));
}

/** Asserts that `part` has nothing that `whole` has not: same values, maybe fewer keys. */
function expectSubset(part: unknown, whole: unknown, path = ''): void {
  if (Array.isArray(part) && Array.isArray(whole)) {
    expect(part, path).toHaveLength(whole.length);
    part.forEach((item, index) => expectSubset(item, whole[index], `${path}/${index}`));
  } else if (isObject(part) && isObject(whole)) {
    expect(Object.keys(whole), path).toEqual(expect.arrayContaining(Object.keys(part)));
    for (const [key, value] of Object.entries(part)) expectSubset(value, whole[key], `${path}/${key}`);
  } else {
    expect(part, path).toEqual(whole);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

const parseJson = (text: string): unknown => JSON.parse(text);

describe('our golden frames', () => {
  const golden = [
    ...framesOf(ownFixture('wire/provider_to_coordinator.json')),
    ...framesOf(ownFixture('wire/coordinator_to_provider.json')),
  ];

  test('there is one of every type, in both directions', () => {
    for (const direction of Direction.options) {
      const seen = new Set(golden.filter((frame) => frame.direction === direction).map(({ type }) => type));
      expect([...seen].sort()).toEqual([...KNOWN[direction]].sort());
    }
  });

  test.each(golden)('$name is read and written as it came, without keys that are not ours', (frame) => {
    const decoded = DECODERS[frame.direction](frame.wire);
    if (!decoded.ok) throw new Error(decoded.reason);
    const again = parseJson(encode(decoded.message));
    expectSubset(again, parseJson(frame.wire));
    if (frame.exact) expect(again).toEqual(parseJson(frame.wire));
    expect(decoded.message.type).toBe(frame.type);
  });

  test.each(Object.entries(SamplesFile.parse(ownFixture('wire/honest_provider.json')).messages))(
    'the sample %s is read and written as it came',
    (_, message) => {
      const decode = KNOWN.provider_to_coordinator.includes(message.type)
        ? decodeProviderFrame
        : decodeCoordinatorFrame;
      const decoded = decode(JSON.stringify(message));
      if (!decoded.ok) throw new Error(decoded.reason);
      expect(parseJson(encode(decoded.message))).toEqual(message);
    },
  );
});

describe.skipIf(!hasSharedFixtures)('recorded frames of other programs', () => {
  const recorded = !hasSharedFixtures
    ? []
    : [
        ...framesOf(sharedFixture('protocol/wire_provider_to_coordinator.v1.json')),
        ...framesOf(sharedFixture('protocol/wire_coordinator_to_provider.v1.json')),
        ...LaterFile.parse(sharedFixture('protocol/later_provider_messages.v1.json')).cases.map(
          ({ id, direction, message }) => ({
            name: `later: ${id}`,
            direction,
            type: message.type,
            wire: JSON.stringify(message),
          }),
        ),
      ];
  const known = recorded.filter(({ direction, type }) => KNOWN[direction].includes(type));
  const unknown = recorded.filter((frame) => !known.includes(frame));

  test('most of them are of a type we know', () => {
    expect(known.length).toBeGreaterThan(30);
    expect(unknown.length).toBeGreaterThan(0);
  });

  test.each(known)('$name is read, and written back without keys that were not there', ({ direction, wire }) => {
    const decoded = DECODERS[direction](wire);
    if (!decoded.ok) throw new Error(decoded.reason);
    expectSubset(parseJson(encode(decoded.message)), parseJson(wire));
  });

  test.each(unknown)('$name is of a type we do not know: that is reported', ({ direction, type, wire }) => {
    expect(DECODERS[direction](wire)).toEqual({ ok: false, reason: `unknown type ${type}` });
  });
});

describe('a frame that is not understood', () => {
  test.each([
    ['text that is not JSON', 'secret!', 'not JSON (7 characters)'],
    ['nothing', '', 'not JSON (0 characters)'],
    ['a list', '[{"type":"cancel"}]', 'no type'],
    ['null', 'null', 'no type'],
    ['a type that is no text', '{"type":7}', 'no type'],
    ['a type that is very long', JSON.stringify({ type: 'x'.repeat(101) }), 'no type'],
    ['a type of the other direction', '{"type":"heartbeat"}', 'unknown type heartbeat'],
    ['a type named like a member of every object', '{"type":"__proto__"}', 'unknown type __proto__'],
    ['a missing field', '{"type":"cancel"}', 'cancel.request_id: '],
    ['an empty id', '{"type":"cancel","request_id":""}', 'cancel.request_id: '],
    ['a field of another kind', '{"type":"load_model","model_id":["secret!"]}', 'load_model.model_id: '],
    [
      'a field inside a list',
      '{"type":"desired_models","models":[{"model_name":"secret!","desired_build":1}]}',
      'desired_models.models.0.desired_build: ',
    ],
  ])('%s is reported by type and field, never by its content', (_, frame, reason) => {
    const decoded = decodeCoordinatorFrame(frame);
    if (decoded.ok) throw new Error('understood');
    expect(decoded.reason.startsWith(reason)).toBe(true);
    expect(decoded.reason).not.toContain('secret!');
  });

  test('never throws, whatever arrives', () => {
    const types = fc.constantFrom(...KNOWN.provider_to_coordinator, ...KNOWN.coordinator_to_provider);
    const frames = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.tuple(types, fc.object()).map(([type, rest]) => JSON.stringify({ ...rest, type })),
      fc
        .tuple(fc.constantFrom(...framesOf(ownFixture('wire/provider_to_coordinator.json'))), fc.nat(), fc.jsonValue())
        .map(([{ wire }, at, value]) => withOneValueChanged(wire, at, value)),
    );
    fc.assert(
      fc.property(frames, (frame) => {
        for (const decode of [decodeProviderFrame, decodeCoordinatorFrame]) {
          const decoded = decode(frame);
          if (decoded.ok) expectSubset(parseJson(encode(decoded.message)), parseJson(frame));
          else expect(decoded.reason).not.toBe('');
        }
      }),
    );
  });
});

/** The frame with the `at`th value that is no object replaced. */
function withOneValueChanged(wire: string, at: number, value: unknown): string {
  const leaves = wire.match(/"(?:type|[a-z_]+)":/gu)?.length ?? 1;
  let seen = 0;
  return JSON.stringify(
    JSON.parse(wire, (key: string, old: unknown) => (key !== 'type' && seen++ === at % leaves ? value : old)),
  );
}
