import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, suite, test } from 'node:test';
import { InternalError } from '../../../../net/errors.ts';
import { CLIENT_AUTH, mint, mintRsa, SERVER_AUTH, type TestCertificate } from '../../../support/certificates.ts';
import { textFrom, TlsPair } from '../../../support/tls-pair.ts';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

suite('TLS endpoint', () => {
  let authority: TestCertificate;
  let server: TestCertificate;
  let client: TestCertificate;

  before(async () => {
    authority = await mint({ commonName: 'test CA', authority: true });
    server = await mint({ commonName: 'vpn.example.com', issuer: authority, usages: [SERVER_AUTH] });
    client = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
  });

  const pairWith = (clientCaPem: string | null): TlsPair =>
    new TlsPair({ certificatePem: server.certificatePem, keyPem: server.keyPem, clientCaPem });
  const optionsFor = (version: (typeof VERSIONS)[number], certificate?: TestCertificate) => ({
    minVersion: version,
    maxVersion: version,
    ...(certificate === undefined ? {} : { cert: certificate.certificatePem, key: certificate.keyPem }),
  });

  for (const version of VERSIONS) {
    test(`${version}: a good certificate is reported with the keys both ends export`, async () => {
      const pair = pairWith(authority.certificatePem);
      const { socket, ready } = await pair.handshake(1, optionsFor(version, client));
      assert.equal(ready.version, version);
      assert.equal(ready.resumed, false);
      assert.equal(ready.certificate?.authorizationError, null);
      assert.equal(ready.certificate?.chain.length, 2);
      const exportFrom = socket.exportKeyingMaterial.bind(socket) as (length: number, label: string) => Buffer;
      assert.deepEqual(Buffer.from(ready.dataKeys), exportFrom(256, 'EXPORTER-OpenVPN-datakeys'));
      assert.deepEqual(Buffer.from(ready.dynamicTlsCrypt), exportFrom(256, 'EXPORTER-OpenVPN-dynamic-tls-crypt'));
    });

    test(`[C88] ${version}: a refused certificate still finishes its handshake, with the reason`, async (context) => {
      const foreign = await mint({ commonName: 'other CA', authority: true });
      const yesterday = new Date(Date.now() - 86_400_000);
      const cases: readonly [string, TestCertificate, string][] = [
        [
          'foreign CA',
          await mint({ commonName: 'eve', issuer: foreign, usages: [CLIENT_AUTH] }),
          'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
        ],
        ['self-signed', await mint({ commonName: 'eve', usages: [CLIENT_AUTH] }), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
        [
          'expired',
          await mint({
            commonName: 'alice',
            issuer: authority,
            usages: [CLIENT_AUTH],
            notBefore: new Date(yesterday.getTime() - 86_400_000),
            notAfter: yesterday,
          }),
          'CERT_HAS_EXPIRED',
        ],
        [
          'server usage',
          await mint({ commonName: 'alice', issuer: authority, usages: [SERVER_AUTH] }),
          'INVALID_PURPOSE',
        ],
      ];
      for (const [index, [name, certificate, expected]] of cases.entries()) {
        await context.test(name, async () => {
          const pair = pairWith(authority.certificatePem);
          const { socket, ready } = await pair.handshake(index, optionsFor(version, certificate));
          assert.ok(
            ready.certificate?.authorizationError?.startsWith(expected),
            String(ready.certificate?.authorizationError),
          );
          pair.endpoint.write(index, Buffer.from('AUTH_FAILED'));
          assert.equal(await textFrom(socket), 'AUTH_FAILED');
        });
      }
    });

    test(`[C88] ${version}: no certificate is reported as none`, async () => {
      const pair = pairWith(authority.certificatePem);
      pair.connect(1, optionsFor(version));
      assert.equal((await pair.next(1, 'tlsReady')).certificate, null);
    });

    test(`${version}: without a client CA no certificate is asked for`, async () => {
      const pair = pairWith(null);
      pair.connect(1, optionsFor(version, client));
      assert.equal((await pair.next(1, 'tlsReady')).certificate, null);
    });

    test(`${version}: messages arrive whole, one record each, in order`, async () => {
      const pair = pairWith(null);
      const { socket } = await pair.handshake(1, optionsFor(version));
      const messages = ['PUSH_REPLY', 'x'.repeat(16_384), 'INFO,second', 'RESTART'];
      const seen: string[] = [];
      const all = Promise.withResolvers<void>();
      socket.on('data', (chunk: Buffer) => {
        seen.push(chunk.toString());
        if (seen.length === messages.length) all.resolve();
      });
      for (const message of messages) pair.endpoint.write(1, Buffer.from(message));
      socket.write('key method');
      await all.promise;
      assert.deepEqual(seen, messages);
      assert.equal(Buffer.from((await pair.next(1, 'tlsPlaintext')).bytes).toString(), 'key method');
    });

    test(`${version}: a client that hangs up is told once, and forgotten`, async () => {
      const pair = pairWith(null);
      const { socket } = await pair.handshake(1, optionsFor(version));
      socket.end();
      assert.equal((await pair.next(1, 'tlsFailed')).reason, 'closed-by-client');
      assert.equal(pair.endpoint.size, 0);
      assert.equal(pair.inputs.filter(({ kind }) => kind === 'tlsFailed').length, 1);
    });

    test(`${version}: a session is never resumed`, async () => {
      const pair = pairWith(authority.certificatePem);
      const first = pair.connect(1, optionsFor(version, client));
      let session: Buffer | undefined;
      first.on('session', (given) => {
        session = given;
      });
      await pair.next(1, 'tlsReady');
      pair.endpoint.write(1, Buffer.from('hello'));
      await textFrom(first);
      session ??= first.getSession();
      pair.connect(2, { ...optionsFor(version, client), ...(session === undefined ? {} : { session }) });
      const ready = await pair.next(2, 'tlsReady');
      assert.equal(ready.resumed, false);
      assert.equal(ready.certificate?.authorizationError, null);
    });
  }

  test('TLS 1.3: no ticket is made', async () => {
    const pair = pairWith(null);
    let tickets = 0;
    const socket = pair.connect(1, { minVersion: 'TLSv1.3' });
    socket.on('session', () => (tickets += 1));
    await pair.next(1, 'tlsReady');
    pair.endpoint.write(1, Buffer.from('hello'));
    await textFrom(socket);
    assert.equal(tickets, 0);
  });

  test('an intermediate of the CA bundle stands in the chain between the leaf and the CA', async () => {
    const intermediate = await mint({ commonName: 'intermediate', issuer: authority, authority: true });
    const leaf = await mint({ commonName: 'alice', issuer: intermediate, usages: [CLIENT_AUTH] });
    const pair = pairWith(authority.certificatePem + intermediate.certificatePem);
    pair.connect(1, { cert: leaf.certificatePem, key: leaf.keyPem });
    const { certificate } = await pair.next(1, 'tlsReady');
    assert.equal(certificate?.authorizationError, null);
    assert.equal(certificate?.chain.length, 3);
  });

  test('no signature is looked at below an unknown authority: strangers choose what it costs', async () => {
    const unknown = await mint({ commonName: 'unknown CA', authority: true });
    const signer = await mint({ commonName: 'intermediate', issuer: unknown, authority: true });
    const namesake = await mint({ commonName: 'intermediate', issuer: unknown, authority: true });
    const leaf = await mint({ commonName: 'eve', issuer: signer, usages: [CLIENT_AUTH] });
    const pair = pairWith(authority.certificatePem);
    pair.connect(1, { cert: leaf.certificatePem + namesake.certificatePem, key: leaf.keyPem });
    const { certificate } = await pair.next(1, 'tlsReady');
    assert.equal(certificate?.authorizationError, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY');
  });

  test('no signature is checked by a stranger’s key that makes it costly, and one that an authority vouches for works', async () => {
    const longExponent = { commonName: 'eve', bits: 2048, exponent: 'long' } as const;
    const pair = pairWith(authority.certificatePem);
    for (const [id, stranger] of [mintRsa(longExponent), mintRsa({ commonName: 'eve', bits: 4104 })].entries()) {
      pair.connect(id, optionsFor('TLSv1.3', stranger));
      assert.equal((await pair.next(id, 'tlsFailed')).reason, 'tls-certificate-verify-failed');
    }
    const rsaAuthority = mintRsa({ commonName: 'RSA CA', bits: 2048 });
    const { ready } = await pairWith(rsaAuthority.certificatePem).handshake(
      9,
      optionsFor('TLSv1.3', mintRsa({ ...longExponent, issuer: rsaAuthority })),
    );
    assert.equal(ready.certificate?.authorizationError, null);
  });

  test('certificates come as they are, not compressed, and are bounded', async () => {
    const pair = pairWith(authority.certificatePem);
    let sent = 0;
    pair.tap = (bytes) => (sent += bytes.length);
    const showing = (copies: number) =>
      optionsFor('TLSv1.3', { ...client, certificatePem: client.certificatePem.repeat(copies) });
    pair.connect(1, showing(50));
    await pair.next(1, 'tlsReady');
    assert.ok(sent > 50 * 256, `${sent} bytes`);
    pair.connect(2, showing(150));
    assert.equal((await pair.next(2, 'tlsFailed')).reason, 'tls-excessive-message-size');
  });

  test('an RSA server and an RSA client shake hands over TLS 1.2', async () => {
    const rsaAuthority = mintRsa({ commonName: 'RSA CA', bits: 2048 });
    const rsaServer = mintRsa({ commonName: 'vpn', bits: 2048, issuer: rsaAuthority });
    const rsaClient = mintRsa({ commonName: 'bob', bits: 2048, issuer: rsaAuthority });
    const pair = new TlsPair({ ...rsaServer, clientCaPem: rsaAuthority.certificatePem });
    const { socket, ready } = await pair.handshake(1, optionsFor('TLSv1.2', rsaClient));
    assert.equal(ready.certificate?.authorizationError, null);
    assert.match(socket.getCipher().name, /^ECDHE-RSA-AES256-GCM-SHA384$/);
  });

  test('TLS below 1.2 and ciphers without AEAD are refused with an alert before the failure', async () => {
    for (const [id, options] of [
      { minVersion: 'TLSv1' as const, maxVersion: 'TLSv1.1' as const, ciphers: 'ALL:@SECLEVEL=0' },
      { maxVersion: 'TLSv1.2' as const, ciphers: 'ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA' },
    ].entries()) {
      const pair = pairWith(null);
      const socket = pair.connect(id, options);
      const failure = once(socket, 'error') as Promise<[NodeJS.ErrnoException]>;
      const { reason } = await pair.next(id, 'tlsFailed');
      assert.match(reason, /^tls-/);
      assert.deepEqual(
        pair.inputs.map(({ kind }) => kind),
        ['tlsOutput', 'tlsFailed'],
      );
      assert.match((await failure)[0].code ?? '', /ALERT/);
    }
  });

  test('garbage instead of a handshake fails that connection alone', async () => {
    const pair = pairWith(null);
    pair.connect(1);
    pair.endpoint.open(2);
    pair.endpoint.input(2, Buffer.alloc(600, 0x41));
    assert.match((await pair.next(2, 'tlsFailed')).reason, /^tls-/);
    await pair.next(1, 'tlsReady');
    assert.equal(pair.endpoint.size, 1);
  });

  test('a handshake is bounded in bytes', async () => {
    const pair = pairWith(null);
    pair.endpoint.open(1);
    // A record header that promises more than ever comes, again and again.
    for (let sent = 0; sent <= 131_072; sent += 1024) pair.endpoint.input(1, Buffer.alloc(1024, 0x16));
    await pair.next(1, 'tlsFailed');
    assert.equal(pair.endpoint.size, 0);
  });

  test('new credentials hold for the next handshake, not for the one that runs', async () => {
    const pair = pairWith(authority.certificatePem);
    const second = await mint({ commonName: 'new.example.com', issuer: authority, usages: [SERVER_AUTH] });
    const running = pair.handshake(1, optionsFor('TLSv1.3', client));
    pair.endpoint.setCredentials({ ...second, clientCaPem: null });
    const next = await pair.handshake(2, optionsFor('TLSv1.3', client));
    const first = await running;
    assert.equal(first.ready.certificate?.authorizationError, null);
    assert.equal(next.ready.certificate, null);
    assert.equal(first.socket.getPeerCertificate().subject.CN, 'vpn.example.com');
    assert.equal(next.socket.getPeerCertificate().subject.CN, 'new.example.com');
  });

  test('a key that does not fit leaves the credentials as they are', async () => {
    const pair = pairWith(null);
    assert.throws(() => {
      pair.endpoint.setCredentials({ certificatePem: server.certificatePem, keyPem: client.keyPem, clientCaPem: null });
    });
    pair.connect(1);
    await pair.next(1, 'tlsReady');
  });

  test('nothing is delivered from within a call, nor after a close', async () => {
    const pair = pairWith(null);
    const handshake = pair.handshake(1);
    assert.equal(pair.inputs.length, 0);
    const { socket } = await handshake;
    pair.endpoint.write(1, Buffer.from('late'));
    pair.endpoint.close(1);
    const count = pair.inputs.length;
    socket.write('more');
    pair.endpoint.write(1, Buffer.from('later'));
    await new Promise(setImmediate);
    assert.equal(pair.inputs.length, count);
  });

  test('misuse is an error of ours: an id used twice, a write before the handshake, a message above a record', async () => {
    const pair = pairWith(null);
    pair.connect(1);
    assert.throws(() => pair.endpoint.open(1), InternalError);
    assert.throws(() => pair.endpoint.write(1, Buffer.alloc(1)), InternalError);
    await pair.next(1, 'tlsReady');
    assert.throws(() => pair.endpoint.write(1, Buffer.alloc(16_385)), InternalError);
  });

  test('answers that pile up end the connection, not the process', async () => {
    const pair = pairWith(null);
    await pair.handshake(1);
    for (let n = 0; n < 21; n += 1) pair.endpoint.write(1, Buffer.alloc(16_384));
    assert.equal((await pair.next(1, 'tlsFailed')).reason, 'output-queue-full');
    assert.equal(pair.endpoint.size, 0);
  });

  test('many handshakes at once keep their answers apart', async () => {
    const pair = pairWith(authority.certificatePem);
    for (let id = 0; id < 100; id += 1)
      pair.connect(id, optionsFor(id % 2 ? 'TLSv1.2' : 'TLSv1.3', id % 3 ? client : undefined));
    for (let id = 0; id < 100; id += 1) {
      const ready = await pair.next(id, 'tlsReady');
      assert.equal(ready.version, id % 2 ? 'TLSv1.2' : 'TLSv1.3');
      assert.equal(ready.certificate === null, id % 3 === 0);
    }
  });
});
