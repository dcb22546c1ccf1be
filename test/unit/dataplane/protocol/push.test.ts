import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  MAX_PUSH_MESSAGE_BYTES,
  PushProblem,
  pushProblem,
  PushReply,
  pushUpdateMessages,
  quotePushArgument,
  type PushResult,
} from '../../../../dataplane/protocol/push.ts';
import { PushCollector } from '../../../support/client-push.ts';
import { seeded } from '../../../support/seed.ts';

const LAST = ['ifconfig 10.8.0.2 255.255.255.0', 'peer-id 0', 'cipher AES-256-GCM', 'protocol-flags cc-exit tls-ekm'];

function messagesOf(result: PushResult): readonly string[] {
  assert.ok(result.ok);
  return result.messages;
}

test('what fits one message has no continuation', () => {
  const messages = messagesOf(
    new PushReply()
      .add('topology subnet')
      .addToLast(...LAST)
      .build(),
  );
  assert.deepEqual(messages, [['PUSH_REPLY', 'topology subnet', ...LAST].join(',')]);
});

test('[P78] a hundred routes become messages of at most 1023 characters, continued 2…2,1', () => {
  const routes = Array.from({ length: 100 }, (_, at) => `route 10.${at}.0.0 255.255.0.0`);
  const messages = messagesOf(
    new PushReply()
      .add(...routes)
      .addToLast(...LAST)
      .build(),
  );
  assert.ok(messages.length > 1);
  messages.forEach((message, at) => {
    assert.ok(message.length <= MAX_PUSH_MESSAGE_BYTES);
    assert.ok(message.startsWith('PUSH_REPLY,'));
    assert.ok(message.endsWith(at === messages.length - 1 ? ',push-continuation 1' : ',push-continuation 2'));
  });
  assert.ok(messages.at(-1)?.includes(LAST.join(',')), 'what a client wants last is last, in one piece');
});

test('[P78] no layout loses, repeats or splits an option', (t) => {
  const option = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
    .filter((text) => pushProblem(text) === undefined);
  fc.assert(
    fc.property(fc.array(option, { maxLength: 80 }), fc.array(option, { maxLength: 20 }), (options, last) => {
      const messages = messagesOf(
        new PushReply()
          .add(...options)
          .addToLast(...last)
          .build(),
      );
      const collector = new PushCollector();
      const collected = messages.map((message) => collector.push(message));
      assert.deepEqual(collected.at(-1), [...options, ...last]);
      assert.ok(collected.slice(0, -1).every((part) => part === undefined));
      for (const message of messages) assert.ok(new TextEncoder().encode(message).length <= MAX_PUSH_MESSAGE_BYTES);
    }),
    seeded(t),
  );
});

for (const { option, problem } of [
  { option: 'route 10.0.0.0,255.0.0.0', problem: PushProblem.HasComma },
  { option: `echo ${'x'.repeat(251)}`, problem: PushProblem.TooLong },
  { option: `echo ${'ä'.repeat(126)}`, problem: PushProblem.TooLong },
  { option: 'echo a\nb', problem: PushProblem.ControlCharacter },
  { option: '', problem: PushProblem.Empty },
  { option: 'echo 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16', problem: PushProblem.TooManyArguments },
]) {
  test(`[P79] an option that ${problem} is a configuration error`, () => {
    assert.deepEqual(new PushReply().add(option).build(), { ok: false, option, problem });
    assert.deepEqual(new PushReply().addToLast(option).build(), { ok: false, option, problem });
  });
}

test('[P79] 255 characters and 16 arguments are allowed', () => {
  assert.equal(pushProblem(`echo ${'x'.repeat(250)}`), undefined);
  assert.equal(pushProblem('echo 1 2 3 4 5 6 7 8 9 10 11 12 13 14 "15 and more"'), undefined);
});

test('arguments are quoted where the client would misread them', () => {
  for (const [argument, quoted] of [
    ['plain-1.2', 'plain-1.2'],
    ['', '""'],
    ['two words', '"two words"'],
    [String.raw`a"b\c`, String.raw`"a\"b\\c"`],
    ["it's", `"it's"`],
    ['#comment', '"#comment"'],
  ]) {
    assert.equal(quotePushArgument(argument), quoted);
  }
});

test('[P81] an update removes, then sets, within its own budget', () => {
  assert.deepEqual(pushUpdateMessages({ remove: ['dns'], set: ['route 10.0.0.0 255.0.0.0'] }), {
    ok: true,
    messages: ['PUSH_UPDATE,-dns,route 10.0.0.0 255.0.0.0'],
  });
  const set = Array.from({ length: 100 }, (_, at) => `route 10.${at}.0.0 255.255.0.0`);
  for (const message of messagesOf(pushUpdateMessages({ remove: [], set }))) assert.ok(message.length <= 928);
});

test('[P81] an option that a client cannot change while connected is refused', () => {
  for (const update of [
    { remove: [], set: ['cipher AES-256-GCM'] },
    { remove: ['peer-id'], set: [] },
    { remove: [], set: ['?route 10.0.0.0'] },
  ]) {
    const result = pushUpdateMessages(update);
    assert.ok(!result.ok);
    assert.equal(result.problem, PushProblem.NotUpdatable);
  }
});
