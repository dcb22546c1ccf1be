// The client that simulations and benches use, against OpenVPN's own server: what passes here is the protocol, not an
// agreement of our two ends with each other.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import {
  formatClientKeyPem,
  formatServerKeyPem,
  makeWrappedClientKey,
  timestampMetadata,
  tlsCryptV2ServerKey,
} from '../../dataplane/protocol/tls-crypt-v2.ts';
import { CLIENT_AUTH, mint, SERVER_AUTH, type TestCertificate } from '../support/certificates.ts';
import type { TwinFindings, TwinPlan } from '../support/client-twin-main.ts';
import { runTwin } from '../support/client-twin.ts';
import { Lab } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';

const skip = skipWithoutNamespaces();
const STATIC_KEY = formatStaticKey(randomBytes(256));
const V2_SERVER_KEY = randomBytes(128);
const V2_CLIENT_KEY = randomBytes(256);

let lab: Lab;
let authority: TestCertificate;
let client: TestCertificate;

before(async () => {
  if (skip !== false) return;
  lab = new Lab({ clients: 0 });
  authority = await mint({ commonName: 'Twin CA', authority: true });
  const server = await mint({ commonName: 'server', issuer: authority, usages: [SERVER_AUTH] });
  client = await mint({ commonName: 'client', issuer: authority, usages: [CLIENT_AUTH] });
  const files = {
    'ca.crt': authority.certificatePem,
    'server.crt': server.certificatePem,
    'server.key': server.keyPem,
    'static.key': STATIC_KEY,
    'v2-server.key': formatServerKeyPem(V2_SERVER_KEY),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(lab.folder, name), content, { mode: 0o600 });
});
after(() => lab?.[Symbol.dispose]());

interface Case {
  readonly name: string;
  readonly server: readonly string[];
  readonly plan: Partial<TwinPlan>;
  readonly pushed: string;
}

const EXPORTER_FLAGS = 'protocol-flags cc-exit tls-ekm dyn-tls-crypt';
const v2ClientKey = formatClientKeyPem({
  clientKey: V2_CLIENT_KEY,
  wrappedClientKey: makeWrappedClientKey(
    tlsCryptV2ServerKey(V2_SERVER_KEY),
    V2_CLIENT_KEY,
    timestampMetadata(Math.floor(Date.now() / 1000)),
  ),
});

const CASES: readonly Case[] = [
  { name: 'no wrap', server: [], plan: {}, pushed: EXPORTER_FLAGS },
  {
    name: 'tls-auth over TCP',
    server: ['--auth', 'SHA256', '--tls-auth', 'static.key', '0'],
    plan: { wrap: 'tls-auth', wrapKey: STATIC_KEY, transport: 'tcp' },
    pushed: EXPORTER_FLAGS,
  },
  {
    name: 'tls-crypt, renewal by the server',
    server: ['--tls-crypt', 'static.key', '--reneg-sec', '4'],
    plan: { wrap: 'tls-crypt', wrapKey: STATIC_KEY, renewal: 'by-server' },
    pushed: EXPORTER_FLAGS,
  },
  {
    name: 'tls-crypt-v2 with a key of our making, cookies forced',
    server: ['--tls-crypt-v2', 'v2-server.key', 'force-cookie'],
    plan: { wrap: 'tls-crypt-v2', wrapKey: v2ClientKey },
    pushed: EXPORTER_FLAGS,
  },
  {
    name: 'TLS 1.2, classic keys, ChaCha20',
    server: ['--data-ciphers', 'CHACHA20-POLY1305'],
    plan: { protocolBits: 2, maxTlsVersion: 'TLSv1.2' },
    pushed: 'cipher CHACHA20-POLY1305',
  },
];

CASES.forEach(({ name, server, plan, pushed }, at) => {
  test(`our client pings through OpenVPN's server and renews: ${name}`, { skip }, async () => {
    const findings = await meet(11_940 + at, server, plan);
    assert.ok(findings.options.includes(pushed), `pushed: ${findings.options.join(',')}`);
    assert.deepEqual(
      { before: findings.answeredBefore, after: findings.answeredAfter, sending: findings.sendingKeyId },
      { before: true, after: true, sending: 1 },
    );
  });
});

/** Starts a server, lets the twin meet it, and ends it. */
async function meet(port: number, serverOptions: readonly string[], plan: Partial<TwinPlan>): Promise<TwinFindings> {
  const transport = plan.transport ?? 'udp';
  const proto = transport === 'tcp' ? 'tcp-server' : 'udp';
  const options = `--cd ${lab.folder} --dev tun --topology subnet --server 10.77.8.0 255.255.255.0 --keepalive 10 60
    --proto ${proto} --port ${port} --verb 3 --dh none --ca ca.crt --cert server.crt --key server.key`;
  const server = lab.gateway.spawn('openvpn', [...options.split(/\s+/), ...serverOptions], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let log = '';
  server.stdout?.on('data', (chunk: Uint8Array) => (log += new TextDecoder().decode(chunk)));
  try {
    await waitFor('the server', () => log.includes('Initialization Sequence Completed'));
    return await runTwin(lab.gateway, {
      port,
      transport,
      wrap: 'none',
      wrapKey: '',
      protocolBits: 990,
      maxTlsVersion: 'TLSv1.3',
      renewal: 'by-client',
      ca: authority.certificatePem,
      identity: { certificate: client.certificatePem, key: client.keyPem },
      pingAddress: '10.77.8.1',
      ...plan,
    });
  } finally {
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
  }
}
