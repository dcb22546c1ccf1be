import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { startAdminServer, type AdminServer } from '../../../../dataplane/io/admin-server.ts';
import { TerminalError } from '../../../../net/errors.ts';

suite('Admin server', () => {
  let server: AdminServer;
  let notReady: string | null = 'no snapshot yet';
  let metrics = async (): Promise<{ text: string; contentType: string }> => ({
    text: 'up 1\n',
    contentType: 'text/plain; version=0.0.4',
  });

  before(async () => {
    server = await startAdminServer({ host: '127.0.0.1', port: 0, metrics: () => metrics(), notReady: () => notReady });
  });
  after(() => server.close());

  const get = (path: string, init?: RequestInit): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.port}${path}`, init);

  test('health, readiness and metrics', async () => {
    assert.equal((await get('/healthz')).status, 200);
    const waiting = await get('/readyz');
    assert.equal(waiting.status, 503);
    assert.equal(await waiting.text(), 'no snapshot yet\n');
    notReady = null;
    assert.equal((await get('/readyz?verbose')).status, 200);
    const scraped = await get('/metrics');
    assert.equal(scraped.headers.get('content-type'), 'text/plain; version=0.0.4');
    assert.equal(await scraped.text(), 'up 1\n');
  });

  test('nothing else', async () => {
    assert.equal((await get('/')).status, 404);
    assert.equal((await get('/metrics/../etc')).status, 404);
    assert.equal((await get('/metrics', { method: 'POST', body: 'x' })).status, 405);
    assert.equal((await get('/healthz', { method: 'HEAD' })).status, 200);
  });

  test('a failed collection is an answer', async () => {
    const good = metrics;
    metrics = () => Promise.reject(new TypeError('secret'));
    const response = await get('/metrics');
    metrics = good;
    assert.equal(response.status, 500);
    assert.ok(!(await response.text()).includes('secret'));
  });

  test('headers above the bound are refused', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.write(`GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(10_000)}\r\n\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 431 /);
    socket.destroy();
  });

  test('an address in use is said to be so', async () => {
    await assert.rejects(
      startAdminServer({ host: '127.0.0.1', port: server.port, metrics, notReady: () => null }),
      (error) => error instanceof TerminalError && error.message.includes(`${server.port}: listen EADDRINUSE`),
    );
  });

  test('closes although somebody holds a connection open', async () => {
    const second = await startAdminServer({ host: '127.0.0.1', port: 0, metrics, notReady: () => null });
    const socket = connect(second.port, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    await second.close();
    await closed;
  });
});
