import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { suite, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { TlsState } from '../../../../dataplane/io/native-addon.ts';
import { utf8Bytes } from '../../../../dataplane/protocol/bytes.ts';
import { CLIENT_AUTH, mint, SERVER_AUTH } from '../../../support/certificates.ts';
import { textFrom, TlsPair } from '../../../support/tls-pair.ts';

const addon = loadAddon();
const none = new Uint8Array(0);
const authority = await mint({ commonName: 'test CA', authority: true });
const server = await mint({ commonName: 'vpn.example.com', issuer: authority, usages: [SERVER_AUTH] });
const client = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
const credentials = { certificatePem: server.certificatePem, keyPem: server.keyPem };
const [certificate, key, authorities] = [server.certificatePem, server.keyPem, authority.certificatePem].map(utf8Bytes);
/** AddressSanitizer keeps what was freed for a while. */
const sanitized = process.env['CLIENTVPN_ADDON_BUILD'] === 'Debug';
const record = new Uint8Array(16_384);
const startOfAHello = Uint8Array.of(0x16, 3, 1, 0, 100, 1, 0);

suite('TLS in the addon', () => {
  test('bad PEM is refused and named, whatever is wrong with it', () => {
    const half = certificate.slice(0, certificate.length / 2);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const cipher = { cipher: 'aes-256-cbc', passphrase: 'hidden' } as const;
    const encrypted = utf8Bytes(String(privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher })));
    for (const [given, expected] of [
      [[none, key, none], /does not take the server certificate: /],
      [[half, key, none], /does not take the server certificate: /],
      [[joined(certificate, half), key, none], /does not take the server certificate: /],
      [[certificate, none, none], /does not take the key of the server certificate: /],
      [[certificate, utf8Bytes(client.keyPem), none], /does not take the key .*: key values mismatch/],
      [[certificate, encrypted, none], /does not take the key of the server certificate: /],
      [[certificate, key, utf8Bytes('no PEM')], /does not take the client CA: /],
      [[certificate, key, joined(authorities, half)], /does not take the client CA: /],
    ] as const)
      assert.throws(() => addon.tlsContext(...(given as [Uint8Array, Uint8Array, Uint8Array])), expected);
  });

  test('what comes too early, is too long or names nothing is misuse, and the connection lives on', () => {
    const context = addon.tlsContext(certificate, key, none);
    const tls = addon.tlsOpen(context);
    assert.throws(() => addon.tlsWrite(tls, Uint8Array.of(1)), RangeError);
    assert.throws(() => addon.tlsPeer(tls), RangeError);
    assert.throws(() => addon.tlsExport(tls, 0, record), RangeError);
    assert.throws(() => addon.tlsRead(tls, none), RangeError);
    assert.throws(() => addon.tlsReceive(tls, none), RangeError);
    assert.equal(addon.tlsRead(tls, record), TlsState.More);
    addon.tlsContextFree(context);
    assert.throws(() => addon.tlsOpen(context), RangeError);
    assert.throws(() => addon.tlsContextFree(context), RangeError);
    addon.tlsReceive(tls, startOfAHello);
    assert.equal(addon.tlsRead(tls, record), TlsState.More);
    addon.tlsClose(tls);
    assert.throws(() => addon.tlsClose(tls), RangeError);
    assert.throws(() => addon.tlsReason(tls), RangeError);
    assert.throws(() => addon.tlsPeer(tls), RangeError);
    assert.throws(() => addon.tlsReceive(tls, startOfAHello), RangeError);
  });

  test('handles, contexts and the memory of 20,000 connections are used again', () => {
    const context = addon.tlsContext(certificate, key, authorities);
    const openAndClose = (count: number): number => {
      let highest = 0;
      for (let n = 0; n < count; n += 1) {
        const tls = addon.tlsOpen(context);
        addon.tlsReceive(tls, startOfAHello);
        assert.equal(addon.tlsRead(tls, record), TlsState.More);
        highest = Math.max(highest, tls);
        addon.tlsClose(tls);
      }
      return highest;
    };
    const first = openAndClose(1_000);
    const before = process.memoryUsage.rss();
    assert.equal(openAndClose(20_000), first);
    // One connection takes some 10 KB.
    const limit = sanitized ? Infinity : 40_000_000;
    assert.ok(process.memoryUsage.rss() - before < limit, `${process.memoryUsage.rss() - before} bytes more`);
    addon.tlsContextFree(context);
    assert.equal(addon.tlsContext(certificate, key, authorities), context);
    addon.tlsContextFree(context);
  });

  test('a connection that rests has given back the buffers of its records', async () => {
    const pair = new TlsPair({ ...credentials, clientCaPem: authority.certificatePem });
    const identity = { cert: client.certificatePem, key: client.keyPem };
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const residentAfter = async (from: number, to: number): Promise<number> => {
      for (let id = from; id < to; id += 1) {
        const { socket } = await pair.handshake(id, identity);
        pair.endpoint.write(id, new Uint8Array(600));
        await textFrom(socket);
        socket.destroy();
        pair.inputs.length = 0;
      }
      for (let round = 0; round < 3; round += 1) {
        collect();
        await new Promise(setImmediate);
      }
      return process.memoryUsage.rss();
    };
    const before = await residentAfter(0, 300);
    const each = ((await residentAfter(300, 1_300)) - before) / 1_000;
    // 62 KB with what is left of the client; the buffers would be 34 KB more.
    assert.ok(each < (sanitized ? Infinity : 80_000), `${Math.round(each)} bytes each`);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${version}: a whole conversation, with certificates, records of every size and a goodbye`, async () => {
      const pair = new TlsPair({ ...credentials, clientCaPem: authority.certificatePem });
      const identity = { cert: client.certificatePem, key: client.keyPem };
      const { socket, ready } = await pair.handshake(1, { minVersion: version, maxVersion: version, ...identity });
      assert.equal(ready.certificate?.authorizationError, null);
      for (const size of [1, 1000, 16_384]) {
        const message = 'x'.repeat(size);
        pair.endpoint.write(1, utf8Bytes(message));
        assert.equal(await textFrom(socket), message);
        socket.write(message);
        while (received(pair) < size) await new Promise(setImmediate);
        pair.inputs.length = 0;
      }
      socket.end();
      assert.equal((await pair.next(1, 'tlsFailed')).reason, 'closed-by-client');
    });

    test(`${version}: a record that was changed on its way ends the connection`, async () => {
      const pair = new TlsPair({ ...credentials, clientCaPem: null });
      await pair.handshake(1, { minVersion: version, maxVersion: version });
      pair.endpoint.input(1, joined(Uint8Array.of(0x17, 3, 3, 0, 30), new Uint8Array(30)));
      assert.match(
        (await pair.next(1, 'tlsFailed')).reason,
        /^tls-(decryption-failed-or-bad-record-mac|cipher-operation-failed)$/,
      );
    });
  }

  test('TLS 1.2: a client does not get a second handshake', async () => {
    const pair = new TlsPair({ ...credentials, clientCaPem: null });
    const { socket } = await pair.handshake(1, { maxVersion: 'TLSv1.2' });
    const refused = await new Promise<Error | null>((resolve) => {
      socket.on('error', resolve);
      socket.renegotiate({}, resolve);
    });
    assert.match(String(refused), /no.renegotiation/i);
  });

  test('a thread that ends with open connections takes them along', async () => {
    const source = `
      const { loadAddon } = await import(${JSON.stringify(new URL('../../../../dataplane/io/load-addon.ts', import.meta.url).href)});
      const { workerData } = await import('node:worker_threads');
      const addon = loadAddon();
      const context = addon.tlsContext(...workerData);
      for (let n = 0; n < 100; n += 1) addon.tlsReceive(addon.tlsOpen(context), Uint8Array.of(0x16, 3, 1));`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: [certificate, key, authorities],
    });
    const code = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    assert.equal(code, 0);
  });
});

function received(pair: TlsPair): number {
  return pair.inputs.reduce((sum, input) => sum + (input.kind === 'tlsPlaintext' ? input.bytes.length : 0), 0);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
