import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { ControlInbox } from '../../../../dataplane/io/control-inbox.ts';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { RecordKind } from '../../../../dataplane/io/ring-record.ts';
import { Doorbell, recordRing } from '../../../../dataplane/io/thread-link.ts';
import { makeSharedLinks } from '../../../../dataplane/io/tunnel-thread-handle.ts';

test('a flood that never ends takes its share of each turn of the event loop, not more and more', async () => {
  const addon = loadAddon();
  const links = makeSharedLinks(addon, 1, 8, { address: 0x0a000000, length: 24 });
  let handled = 0;
  const inbox = new ControlInbox({
    addon,
    links,
    onNotification: () => undefined,
    onUnowned: () => (handled += 1),
    onTurn: () => undefined,
  });
  const ring = recordRing(links.stranger[0]);
  const doorbell = new Doorbell(links, 1, (fd) => addon.eventSignal(fd));
  let most = 0;
  for (let turn = 0; turn < 100; turn += 1) {
    while (ring.begin(RecordKind.Unowned, 100)) ring.ring.publish();
    doorbell.ring();
    handled = 0;
    await turnOfTheLoop();
    most = Math.max(most, handled);
  }
  inbox.close();
  for (const fd of links.wakeups) addon.close(fd);
  assert.ok(most > 0 && most <= 64, `${most} records in one turn`);
});
