import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CodeReports } from '../../../../dataplane/io/code-reports.ts';

test('one report at a time, and a login goes on when the one that holds its code is kept', async () => {
  const used: { user: string; step: number }[] = [];
  const sent: { sequence: number; users: string }[] = [];
  const reports = new CodeReports({
    read: () => [...used],
    send: ({ sequence, totpSteps }) => sent.push({ sequence, users: totpSteps.map(({ user }) => user).join() }),
  });
  const admitted: string[] = [];
  const login = (user: string): void => {
    used.push({ user, step: 1 });
    void reports.keep().then(() => admitted.push(user));
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  login('a');
  login('b');
  login('c');
  await turn();
  assert.deepEqual({ sent, admitted }, { sent: [{ sequence: 1, users: 'a' }], admitted: [] });
  reports.kept(2);
  await turn();
  assert.deepEqual(admitted, [], 'an answer to nothing');
  reports.kept(1);
  reports.kept(1);
  await turn();
  assert.deepEqual(admitted, ['a']);
  assert.deepEqual(sent.slice(1), [{ sequence: 2, users: 'a,b,c' }]);
  reports.kept(2);
  await turn();
  assert.deepEqual(admitted, ['a', 'b', 'c']);
  reports.kept(2);
  login('d');
  assert.deepEqual(sent.slice(2), [{ sequence: 3, users: 'a,b,c,d' }]);
});
