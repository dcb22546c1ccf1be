import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { clientProfileText, isWildcardCapable, type ClientProfile } from '../../../api/client-profile.ts';
import { createAuthority, issueClientCertificate } from '../../../operator/pki/authority.ts';
import { newStaticKey, newTlsCryptV2ClientKey, newTlsCryptV2ServerKey } from '../../../operator/pki/wrap-keys.ts';
import { skipWithoutNamespaces } from '../../support/requirements.ts';

const PLAIN: ClientProfile = {
  remoteHost: 'vpn.example.com',
  wildcardDns: true,
  port: 443,
  transport: 'udp',
  serverCaPem: '-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n',
  clientCertificate: null,
  userLogin: null,
  controlWrap: { kind: 'None' },
};
const CERTIFICATE = {
  certificatePem: '-----BEGIN CERTIFICATE-----\nLEAF\n-----END CERTIFICATE-----\n',
  keyPem: 'KEY\n',
};

const GOLDEN: Readonly<Record<string, ClientProfile>> = {
  'udp-name': PLAIN,
  'udp-name-without-wildcard': { ...PLAIN, wildcardDns: false },
  'tcp-address-mutual': {
    ...PLAIN,
    remoteHost: '192.0.2.1',
    port: 1194,
    transport: 'tcp',
    clientCertificate: CERTIFICATE,
  },
  'mutual-placeholder': { ...PLAIN, clientCertificate: 'placeholder' },
  'password-mfa-tls-auth': {
    ...PLAIN,
    userLogin: { mfaPrompt: 'Enter MFA code ' },
    controlWrap: { kind: 'TlsAuth', staticKey: '-----BEGIN OpenVPN Static key V1-----\r\n00\r\n' },
  },
  'password-tls-crypt': {
    ...PLAIN,
    userLogin: { mfaPrompt: null },
    controlWrap: { kind: 'TlsCrypt', staticKey: 'STATIC' },
  },
  'tls-crypt-v2': { ...PLAIN, controlWrap: { kind: 'TlsCryptV2', clientKeyPem: 'CLIENT KEY' } },
};

suite('Client file', () => {
  for (const [name, profile] of Object.entries(GOLDEN)) {
    test(`[C114] ${name}`, async () => {
      const file = join(import.meta.dirname, 'client-profiles', `${name}.ovpn`);
      if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(file, clientProfileText(profile));
      assert.equal(clientProfileText(profile), await readFile(file, 'utf8'));
    });
  }

  test('a random name is looked up only below a name that can have names below it', () => {
    for (const host of ['192.0.2.1', '2001:db8::1', 'localhost', 'gateway', ''])
      assert.equal(isWildcardCapable(host), false);
    for (const host of ['vpn.example.com', 'vpn.example.com.', '1.example.com'])
      assert.equal(isWildcardCapable(host), true);
  });

  test('a prompt can not break out of its line', () => {
    const text = clientProfileText({ ...PLAIN, userLogin: { mfaPrompt: 'a "b" \\ c\nscript-security 2' } });
    assert.match(text, /^static-challenge "a \\"b\\" \\\\ c script-security 2" 1$/m);
    assert.doesNotMatch(text, /^script-security/m);
  });

  suite('taken by the stock client', { skip: skipWithoutNamespaces() }, () => {
    let real: ClientProfile;

    before(async () => {
      const now = new Date();
      const authority = await createAuthority({ commonName: 'CA', now });
      const clientCertificate = await issueClientCertificate(authority, { commonName: 'alice', now });
      real = { ...PLAIN, remoteHost: '127.0.0.1', port: 1, serverCaPem: authority.certificatePem, clientCertificate };
    });

    const serverKey = newTlsCryptV2ServerKey(randomBytes);
    const wraps: readonly ClientProfile['controlWrap'][] = [
      { kind: 'None' },
      { kind: 'TlsAuth', staticKey: newStaticKey(randomBytes) },
      { kind: 'TlsCrypt', staticKey: newStaticKey(randomBytes) },
      { kind: 'TlsCryptV2', clientKeyPem: newTlsCryptV2ClientKey(serverKey, 1_700_000_000, randomBytes) },
    ];
    for (const controlWrap of wraps) {
      for (const transport of ['udp', 'tcp'] as const) {
        test(`${controlWrap.kind} over ${transport}`, async () => {
          const userLogin = { mfaPrompt: null };
          const profile = clientProfileText({ ...real, transport, controlWrap, userLogin });
          // Comes once the whole file has been read, with every certificate and key in it.
          const output = await outputUntil(profile, 'Preserving recently used remote address');
          assert.match(output, /remote address: \[AF_INET\]127\.0\.0\.1:1$/m);
          assert.doesNotMatch(output, /Options error|Unrecognized|fatal/i);
        });
      }
    }

    test('asks a gateway that does not answer three times within 5 s, where it would twice', async () => {
      const gateway = createSocket('udp4');
      let heard = 0;
      gateway.on('message', () => (heard += 1));
      gateway.bind(0, '127.0.0.1');
      await once(gateway, 'listening');
      const profile = clientProfileText({ ...real, port: gateway.address().port });
      await outputUntil(`${profile}hand-window 5\n`, 'TLS key negotiation failed to occur');
      gateway.close();
      assert.equal(heard, 3);
    });

    test('begins anew after 10 s with a gateway that does not answer', async () => {
      const gateway = createSocket('udp4');
      gateway.bind(0, '127.0.0.1');
      await once(gateway, 'listening');
      // Within the hand-window of 60 s, in which it would ask five times more.
      const output = await outputUntil(clientProfileText({ ...real, port: gateway.address().port }), 'restarting');
      gateway.close();
      assert.match(output, /Server poll timeout, restarting/);
    });

    test('[C80] a prompt with quotes is asked as it stands', async () => {
      const profile = clientProfileText({ ...real, userLogin: { mfaPrompt: 'Code: "x" ' } });
      assert.match(await outputUntil(profile, 'Exiting'), /CHALLENGE: Code: "x" '/);
    });
  });
});

/** Runs the client without a terminal on the profile until it prints the text or ends. */
async function outputUntil(profile: string, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `cvt-${process.pid}-profile-`));
  try {
    await writeFile(join(folder, 'client.ovpn'), profile, { mode: 0o600 });
    await writeFile(join(folder, 'login'), 'alice\npassword\n', { mode: 0o600 });
    const overrides = ['--auth-user-pass', 'login', '--dev', 'null'];
    const client = spawn('openvpn', ['--config', 'client.ovpn', ...overrides], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(client, 'close');
    let output = '';
    for await (const chunk of client.stdout) {
      output += String(chunk);
      if (output.includes(text)) client.kill();
    }
    await ended;
    return output;
  } finally {
    await rm(folder, { recursive: true });
  }
}
