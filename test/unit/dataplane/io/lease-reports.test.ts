import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseReports } from '../../../../dataplane/io/lease-reports.ts';

test('tells every ten seconds what has changed, and nothing else', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let sent = 0;
  let revision = 0;
  let isBehind = false;
  const reports = new LeaseReports({
    revision: () => revision,
    read: () => [],
    isBehind: () => isBehind,
    send: () => void (sent += 1),
  });
  t.after(() => reports.close());
  t.mock.timers.tick(10_000);
  assert.equal(sent, 0);
  revision += 1;
  t.mock.timers.tick(10_000);
  assert.equal(sent, 1);
  t.mock.timers.tick(30_000);
  assert.equal(sent, 1);
  revision += 1;
  reports.tell();
  assert.equal(sent, 2);
  isBehind = true;
  revision += 1;
  t.mock.timers.tick(60_000);
  assert.equal(sent, 2, 'the last has not been read');
  isBehind = false;
  t.mock.timers.tick(10_000);
  assert.equal(sent, 3);
});
