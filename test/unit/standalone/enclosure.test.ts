import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { loadAddon } from '../../../dataplane/io/load-addon.ts';
import { InternalError } from '../../../net/errors.ts';
import { Enclosure } from '../../../standalone/enclosure.ts';
import { skipWithoutNamespaces } from '../../support/requirements.ts';

const EPERM = 1;

/** What was asked of the addon, and what it answers. */
function fake(answers: { readonly enter: number; readonly leave: number }) {
  const calls: string[] = [];
  const pidNamespace = (_own: number, isNew: boolean): number => {
    calls.push(isNew ? 'enter' : 'leave');
    return isNew ? answers.enter : answers.leave;
  };
  return { calls, addon: { pidNamespace } };
}

test(
  'what is started is in a new namespace, and what is started later is not',
  { skip: skipWithoutNamespaces() },
  () => {
    const enclosure = new Enclosure(loadAddon());
    const namespace = (): string => execFileSync('readlink', ['/proc/self/ns/pid'], { encoding: 'utf8' }).trim();
    const ours = readlinkSync('/proc/self/ns/pid');
    const [first, second] = [enclosure.start(namespace), enclosure.start(namespace)];
    assert.equal(new Set([ours, first, second]).size, 3);
    assert.equal(namespace(), ours);
  },
);

test('without the right to make namespaces it is started all the same', () => {
  const { calls, addon } = fake({ enter: -EPERM, leave: 0 });
  const enclosure = new Enclosure(addon);
  assert.equal(enclosure.isPossible, false);
  assert.equal(
    enclosure.start(() => 'started'),
    'started',
  );
  assert.deepEqual(calls, ['enter', 'enter']);
});

test('the namespace is left whatever happens to what is started', () => {
  const { calls, addon } = fake({ enter: 0, leave: 0 });
  const enclosure = new Enclosure(addon);
  calls.length = 0;
  assert.throws(
    () =>
      enclosure.start(() => {
        throw new RangeError('no descriptor');
      }),
    RangeError,
  );
  assert.deepEqual(calls, ['enter', 'leave']);
});

test('a namespace that can not be left is an error: whatever is started next would end with the data plane', () => {
  assert.throws(() => new Enclosure(fake({ enter: 0, leave: -EPERM }).addon), InternalError);
});
