import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { DEFAULT_QUOTAS } from '../../../operator/endpoint/checks/quotas.ts';
import { checkManifests, loadValidator } from '../../../standalone/check-manifests.ts';
import { formatFinding } from '../../../standalone/findings.ts';
import { resource, type Json } from '../../support/base-resources.ts';
import { mint, revocationListDer, SERVER_AUTH } from '../../support/certificates.ts';
import { conditionOf } from '../../support/compile-fixture.ts';

const DAY = 86_400_000;
const now = Date.now();

function secret(name: string, stringData: Json, data: Json = {}): Json {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData, data };
}

describe('checkManifests with Secrets', async () => {
  const validator = await loadValidator();
  const authority = await mint({ commonName: 'ca', authority: true });
  const stranger = await mint({ commonName: 'other', authority: true });
  const server = await mint({
    commonName: 'vpn',
    issuer: authority,
    usages: [SERVER_AUTH],
    sans: ['vpn.example'],
    notAfter: new Date(now + 90 * DAY),
  });
  const old = await mint({
    commonName: 'vpn',
    issuer: authority,
    usages: [SERVER_AUTH],
    notBefore: new Date(now - 9 * DAY),
    notAfter: new Date(now - DAY),
  });
  const serverSecret = secret('server', { 'tls.crt': server.certificatePem, 'tls.key': server.keyPem });
  const clients = secret('clients', { 'ca.crt': authority.certificatePem });
  const crl = (issuer: typeof authority): Json =>
    secret('crl', {}, { 'crl.der': revocationListDer({ authority: issuer, serials: ['0A'] }).toString('base64') });
  const withCrl = {
    spec: { clientCertificateRevocationList: { source: { secretRef: { name: 'crl', key: 'crl.der' } } } },
  };
  const check = (...objects: readonly Json[]): ReturnType<typeof checkManifests> => {
    const text = objects.map((object) => stringify(object)).join('---\n');
    return checkManifests([{ path: 'a.yaml', text }], validator, { quotas: DEFAULT_QUOTAS, now });
  };
  const corp = 'ClientVpnEndpoint/corp';

  it('good ones leave nothing to say, and show in the status [C17]', () => {
    const { findings, compiled } = check(
      resource('ClientVpnEndpoint', 'corp', withCrl),
      serverSecret,
      clients,
      crl(authority),
    );
    assert.deepEqual(findings.map(formatFinding), []);
    assert.equal(conditionOf(compiled, corp, 'AuthenticationConfigured'), 'True/Configured');
    assert.equal(conditionOf(compiled, corp, 'RevocationListValid'), 'True/Valid');
    const status = compiled.statuses.get('ClientVpnEndpoint/default/corp')?.status;
    assert.ok(status !== undefined && 'crl' in status);
    assert.equal(status.crl?.entries, 1);
    assert.match(status.serverCertificate?.subject ?? '', /vpn/);
  });

  for (const [what, objects, expected, condition] of [
    [
      'an expired server certificate [C18]',
      [
        resource('ClientVpnEndpoint', 'corp'),
        secret('server', { 'tls.crt': old.certificatePem, 'tls.key': old.keyPem }),
        clients,
      ],
      /spec\.serverCertificate\.secretRef\.name: Expired/,
      ['ServerCertificateValid', 'False/Expired'],
    ],
    [
      'a key of another certificate',
      [
        resource('ClientVpnEndpoint', 'corp'),
        secret('server', { 'tls.crt': server.certificatePem, 'tls.key': old.keyPem }),
        clients,
      ],
      /spec\.serverCertificate\.secretRef\.name: KeyMismatch/,
      ['ServerCertificateValid', 'False/KeyMismatch'],
    ],
    [
      'a list of another CA [C93]',
      [resource('ClientVpnEndpoint', 'corp', withCrl), serverSecret, clients, crl(stranger)],
      /spec\.clientCertificateRevocationList\.source: BadSignature/,
      ['RevocationListValid', 'False/BadSignature'],
    ],
    [
      'a wrap key that is none',
      [
        resource('ClientVpnEndpoint', 'corp', {
          spec: { controlWrap: 'TlsCrypt', controlWrapSecretRef: { name: 'wrap' } },
        }),
        serverSecret,
        clients,
        secret('wrap', { 'tls-crypt.key': 'hunter2' }),
      ],
      /spec\.controlWrapSecretRef\.name: KeyUnusable/,
      ['Accepted', 'True/Accepted'],
    ],
  ] as const) {
    it(`${what} is an error at the reference`, () => {
      const { findings, compiled } = check(...objects);
      const errors = findings.filter(({ severity }) => severity === 'error').map(formatFinding);
      assert.equal(errors.length, 1, errors.join('\n'));
      assert.match(errors[0] ?? '', expected);
      assert.doesNotMatch(errors[0] ?? '', /hunter2|PRIVATE/);
      assert.equal(conditionOf(compiled, corp, condition[0]), condition[1]);
    });
  }

  it('a list whose CA is not among the manifests is only warned of', () => {
    const { findings } = check(resource('ClientVpnEndpoint', 'corp', withCrl), serverSecret, crl(authority));
    assert.deepEqual(
      findings.map(({ severity, message }) => [severity, /^\w+/.exec(message)?.[0]]),
      [
        ['warning', 'ClientCANotFound'],
        ['warning', 'BadSignature'],
      ],
    );
  });

  it('Secrets from elsewhere stand in for those that the manifests lack', () => {
    const text = stringify(resource('ClientVpnEndpoint', 'corp'));
    const bytes = (pem: string): Uint8Array => new TextEncoder().encode(pem);
    const made = new Map([
      [
        'server',
        new Map([
          ['tls.crt', bytes(server.certificatePem)],
          ['tls.key', bytes(server.keyPem)],
        ]),
      ],
      ['clients', new Map([['ca.crt', bytes(authority.certificatePem)]])],
    ]);
    const options = { quotas: DEFAULT_QUOTAS, now, lookup: (_: string, __: string, name: string) => made.get(name) };
    assert.deepEqual(checkManifests([{ path: 'a.yaml', text }], validator, options).findings, []);
  });
});
