import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestCertificate } from '../support/certificates.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGET_NETWORK } from './lane.ts';

/** What both ends of a login prove themselves with. */
export interface Identities {
  readonly authority: TestCertificate;
  readonly server: TestCertificate;
  readonly client: TestCertificate;
}

/** P-256, or RSA with 2,048 bits; made by `openssl` as people make them. */
export function mintIdentities(kind: 'EC' | 'RSA' = 'EC'): Identities {
  const folder = mkdtempSync(join(tmpdir(), 'cvt-bench-'));
  const openssl = (...options: string[]): void =>
    void execFileSync('openssl', options, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const algorithm = kind === 'EC' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['rsa:2048'];
  const make = (name: string, ...options: string[]): TestCertificate => {
    const subject = ['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.crt`];
    openssl('req', '-x509', '-newkey', ...algorithm, '-noenc', '-days', '30', ...subject, ...options);
    const read = (suffix: string): string => readFileSync(join(folder, `${name}.${suffix}`), 'utf8');
    return { certificatePem: read('crt'), keyPem: read('key') };
  };
  const issued = (usage: string): string[] => {
    const extensions = ['basicConstraints=critical,CA:FALSE', `extendedKeyUsage=${usage}`, KEY_USAGE];
    return ['-CA', 'authority.crt', '-CAkey', 'authority.key', ...extensions.flatMap((text) => ['-addext', text])];
  };
  try {
    const authority = make('authority', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
    const server = make('server', ...issued('serverAuth'), '-addext', 'subjectAltName=DNS:server');
    return { authority, server, client: make('client', ...issued('clientAuth')) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The usual endpoint with these instead of certificates of its own making. */
export function identityManifests({ authority, server }: Identities): Readonly<Record<string, string>> {
  const ca = authority.certificatePem;
  return {
    'endpoint.yaml': yamlOf(endpoint(), targetNetwork('net-a', [TARGET_NETWORK])),
    'rules.yaml': yamlOf(rule(TARGET_NETWORK)),
    'secrets.yaml': yamlOf(
      secret('server', { 'tls.crt': server.certificatePem, 'tls.key': server.keyPem, 'ca.crt': ca }),
      secret('clients', { 'ca.crt': ca }),
    ),
  };
}

const KEY_USAGE = 'keyUsage=critical,digitalSignature,keyEncipherment';
