import { beforeEach, describe, expect, test } from 'vitest';
import type { RequestMessage } from '../../src/runner-protocol/messages.js';
import { Outbox } from '../../src/runner/outbox.js';

const started: RequestMessage = { type: 'started', id: 1, promptTokens: 9, cachedTokens: 0 };
const text = (word: string): RequestMessage => ({ type: 'text', id: 1, text: word });

describe('what the loop has to tell', () => {
  let now: number;
  let sent: RequestMessage[][];
  let outbox: Outbox;

  beforeEach(() => {
    now = 1_000;
    sent = [];
    outbox = open(false);
  });

  const open = (computesOnAllCores: boolean) =>
    new Outbox({ send: (messages) => sent.push(messages), computesOnAllCores, now: () => now });

  /** A step that brought `word` at this time. */
  const step = (at: number, word: string) => {
    now = at;
    outbox.putMore(text(word));
    outbox.stepDone();
  };

  test('steps that take long leave one by one', () => {
    for (const at of [1_000, 1_010, 1_040]) step(at, String(at));
    expect(sent.map((messages) => messages.length)).toEqual([1, 1, 1]);
  });

  test('of fast steps several leave together, in order, and no text waits for more than a hundredth of a second', () => {
    for (const at of [1_000, 1_003, 1_006, 1_009, 1_012, 1_015]) step(at, String(at));
    expect(sent).toEqual([[text('1000')], ['1003', '1006', '1009', '1012'].map(text)]);
  });

  test('a beginning, an end and the first text take everything with them at once', () => {
    step(1_000, 'a');
    step(1_001, 'b');
    outbox.put(text('first of another'));
    outbox.stepDone();
    expect(sent).toEqual([[text('a')], [text('b'), text('first of another')]]);
    step(1_002, 'c');
    expect(sent).toHaveLength(2);
    outbox.beforeRest();
    expect(sent[2]).toEqual([text('c')]);
  });

  test('what is there leaves before prompts are read or nothing is computed, and nothing is told when there is nothing', () => {
    outbox.put(started);
    outbox.beforeReading();
    outbox.putMore(text('a'));
    outbox.beforeRest();
    outbox.beforeReading();
    outbox.beforeRest();
    expect(sent).toEqual([[started], [text('a')]]);
  });

  describe('where the threads that compute have all the cores', () => {
    beforeEach(() => {
      outbox = open(true);
      outbox.stepDone();
      sent = [];
    });

    test('waits until they rest, if that will be soon', () => {
      step(1_025, 'a');
      expect(sent).toEqual([]);
      now = 1_049;
      outbox.threadsRest();
      expect(sent).toEqual([[text('a')]]);
    });

    test('does not wait where steps are long', () => {
      step(1_100, 'a');
      expect(sent).toEqual([[text('a')]]);
    });

    test('does not wait when it is urgent', () => {
      step(1_025, 'a');
      outbox.put(text('first of another'));
      outbox.stepDone();
      expect(sent).toEqual([[text('a'), text('first of another')]]);
    });

    test('that a request has begun is told after the first step that reads its prompt; texts do not wait for that', () => {
      outbox.put(started);
      outbox.beforeReading();
      expect(sent).toEqual([]);
      outbox.putMore(text('of another'));
      outbox.beforeReading();
      expect(sent).toEqual([[started, text('of another')]]);
      outbox.put(started);
      now += 100;
      outbox.threadsRest();
      expect(sent).toHaveLength(1);
      outbox.put(text('first'));
      outbox.stepDone();
      expect(sent[1]).toEqual([started, text('first')]);
    });

    test('nothing waits for nothing: that a step was done is told, however near the rest is', () => {
      now = 1_025;
      outbox.stepDone();
      expect(sent).toEqual([[]]);
    });

    test('leaves no more often than elsewhere, and nothing is told when there is nothing', () => {
      step(1_025, 'a');
      now = 1_030;
      outbox.threadsRest();
      outbox.threadsRest();
      step(1_031, 'b');
      now = 1_036;
      outbox.threadsRest();
      expect(sent).toEqual([[text('a')]]);
    });
  });

  test('that a step was done is told without any text as well', () => {
    outbox.stepDone();
    now += 10;
    outbox.stepDone();
    expect(sent).toEqual([[], []]);
  });
});
