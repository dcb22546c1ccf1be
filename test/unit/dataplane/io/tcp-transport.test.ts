import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FakeTcpKernel } from '../../../support/fake-tcp-kernel.ts';

const CONTROL = Uint8Array.of(0, 3, 0x28, 1, 2);
const DATA = Uint8Array.of(0, 3, 0x48, 1, 2);

suite('TCP transport', () => {
  test('who talks too much is not read for a while, and loses nothing that was said', () => {
    const kernel = new FakeTcpKernel();
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 1000);
    assert.equal(kernel.packets.length, 160);
    assert.equal(kernel.isRead, false);
    kernel.send(CONTROL, 20, 1000);
    const wait = kernel.transport.waitMs(1000);
    assert.ok(wait > 0 && wait < 1000, `${wait} ms`);
    kernel.transport.expire(1000 + wait - 1);
    assert.equal(kernel.isRead, false);
    kernel.transport.expire(1000 + wait);
    assert.equal(kernel.isRead, true);
    assert.equal(kernel.transport.waitMs(1000 + wait), Infinity);
    kernel.serve(1000 + wait);
    assert.equal(kernel.packets.length, 180);
    assert.deepEqual(kernel.closed, []);
  });

  test('more control frames in one breath than a client can have under way end the connection', () => {
    const kernel = new FakeTcpKernel();
    kernel.send(CONTROL, 65, 0);
    assert.deepEqual([kernel.packets.length, kernel.closed], [0, ['too many control frames at once']]);
    assert.equal(kernel.isRead, false);
  });

  test('data is never paced', () => {
    const kernel = new FakeTcpKernel();
    kernel.send(DATA, 1_600, 0);
    for (let read = 0; read < 10; read++) kernel.send(CONTROL, 10, 0);
    assert.equal(kernel.packets.length, 1_700);
    assert.ok(kernel.isRead);
  });

  test('before a login little is read at once, after it much', () => {
    const kernel = new FakeTcpKernel();
    kernel.send(DATA, 1, 0);
    assert.equal(kernel.readMost, 8_192);
    kernel.transport.attach(256, 0);
    kernel.send(DATA, 1, 0);
    assert.equal(kernel.readMost, 65_536);
  });

  test('a connection that is not read can still be written to and closed', () => {
    const kernel = new FakeTcpKernel();
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 0);
    kernel.takes = false;
    kernel.transport.transmitControl(256, new Uint8Array(10));
    kernel.transport.expire(kernel.transport.waitMs(0));
    assert.deepEqual([...kernel.polled].at(-1), [FakeTcpKernel.FD, true], 'what waited for room goes on to');
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 0);
    assert.equal(kernel.isRead, false);
    kernel.transport.closeNow(0, 'for a test');
    assert.deepEqual(kernel.closed, ['for a test']);
    assert.equal(kernel.transport.waitMs(0), Infinity);
  });
});
