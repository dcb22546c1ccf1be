import 'reflect-metadata';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import forge from 'node-forge';
import * as x509 from '@peculiar/x509';

export interface TestCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface MintOptions {
  /** Null leaves the subject empty; a list writes several CNs. */
  readonly commonName?: string | null | readonly string[];
  readonly issuer?: TestCertificate;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly serial?: string;
  readonly authority?: boolean;
  /** Object identifiers; none leaves the extension out. */
  readonly usages?: readonly string[];
  /** A server certificate of those that stock clients refuse. */
  readonly withoutKeyUsage?: boolean;
  readonly sans?: readonly string[];
  readonly curve?: 'P-256' | 'P-384' | 'P-521';
}

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** Mints an EC certificate with whatever the options say, well or badly; self-signed without an issuer. */
export async function mint(options: MintOptions): Promise<TestCertificate> {
  const algorithm = { name: 'ECDSA', namedCurve: options.curve ?? 'P-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const keyPem = pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const names = typeof options.commonName === 'string' ? [options.commonName] : (options.commonName ?? []);
  const issuer = options.issuer === undefined ? undefined : new x509.X509Certificate(options.issuer.certificatePem);
  const subject = new x509.Name(names.map((name) => ({ CN: [{ utf8String: name }] })));
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: options.serial ?? Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex'),
      subject,
      issuer: issuer?.subjectName ?? subject,
      notBefore: options.notBefore ?? new Date(Date.now() - 3_600_000),
      notAfter: options.notAfter ?? new Date(Date.now() + 86_400_000),
      publicKey: keys.publicKey,
      signingKey: options.issuer === undefined ? keys.privateKey : await signingKeyOf(options.issuer),
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new x509.BasicConstraintsExtension(options.authority ?? false, undefined, true),
        ...(options.usages === undefined ? [] : [new x509.ExtendedKeyUsageExtension([...options.usages])]),
        ...(options.withoutKeyUsage || !options.usages?.includes(SERVER_AUTH)
          ? []
          : [new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true)]),
        ...(options.sans === undefined
          ? []
          : [new x509.SubjectAlternativeNameExtension(options.sans.map((value) => ({ type: 'dns', value }) as const))]),
      ],
    },
    webcrypto,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem };
}

interface RsaKeys {
  readonly publicKey: forge.pki.rsa.PublicKey;
  readonly privateKey: forge.pki.rsa.PrivateKey;
}

function rsaKeys(bits: number): RsaKeys {
  const generated = generateKeyPairSync('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return {
    publicKey: forge.pki.publicKeyFromPem(generated.publicKey),
    privateKey: forge.pki.privateKeyFromPem(generated.privateKey),
  };
}

/** Exponents change places: quick to sign with, slow to check. */
function swapped({ privateKey: { n, e, d, p, q, qInv } }: RsaKeys): RsaKeys {
  const one = forge.jsbn.BigInteger.ONE;
  const [dP, dQ] = [p, q].map((prime) => e.mod(prime.subtract(one)));
  return {
    publicKey: forge.pki.rsa.setPublicKey(n, d),
    privateKey: forge.pki.rsa.setPrivateKey(n, d, e, p, q, dP, dQ, qInv),
  };
}

/** Mints an RSA certificate with clientAuth and serverAuth; self-signed CA without an issuer. */
export function mintRsa(options: {
  readonly commonName: string;
  readonly bits: number;
  readonly issuer?: TestCertificate;
  readonly exponent?: 'long';
}): TestCertificate {
  const usual = rsaKeys(options.bits);
  const keys = options.exponent === 'long' ? swapped(usual) : usual;
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = keys.publicKey;
  certificate.serialNumber = '01';
  certificate.validity.notBefore = new Date(Date.now() - 3_600_000);
  certificate.validity.notAfter = new Date(Date.now() + 86_400_000);
  const subject = [{ name: 'commonName', value: options.commonName }];
  certificate.setSubject(subject);
  const issuer = options.issuer === undefined ? undefined : forge.pki.certificateFromPem(options.issuer.certificatePem);
  certificate.setIssuer(issuer?.subject.attributes ?? subject);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: issuer === undefined, critical: true },
    ...(issuer === undefined ? [] : [{ name: 'extKeyUsage', clientAuth: true, serverAuth: true }]),
  ]);
  const signingKey =
    options.issuer === undefined ? keys.privateKey : forge.pki.privateKeyFromPem(options.issuer.keyPem);
  certificate.sign(signingKey, forge.md.sha256.create());
  return {
    certificatePem: forge.pki.certificateToPem(certificate).replaceAll('\r', ''),
    keyPem: forge.pki.privateKeyToPem(keys.privateKey).replaceAll('\r', ''),
  };
}

export interface RevocationListOptions {
  readonly authority: TestCertificate;
  /** Hex, as they stand in certificates. */
  readonly serials: readonly string[];
  /** Openssl's time form, `YYYYMMDDHHMMSSZ`. */
  readonly nextUpdate?: string;
  readonly digest?: string;
  readonly withReasons?: boolean;
  readonly extraArguments?: readonly string[];
}

/** A revocation list as DER, made by the openssl program, as most real ones are. */
export function revocationListDer(options: RevocationListOptions): Buffer {
  const folder = mkdtempSync(join(tmpdir(), `cvt-${process.pid}-crl-`));
  try {
    const reason = options.withReasons ? ',keyCompromise' : '';
    const index = options.serials.map(
      (serial) => `R\t400101000000Z\t250101000000Z${reason}\t${serial.toUpperCase()}\tunknown\t/CN=x\n`,
    );
    writeFileSync(join(folder, 'index.txt'), index.join(''));
    writeFileSync(join(folder, 'index.txt.attr'), 'unique_subject = no\n');
    writeFileSync(join(folder, 'crlnumber'), '01\n');
    writeFileSync(join(folder, 'ca.pem'), options.authority.certificatePem);
    writeFileSync(join(folder, 'ca.key'), options.authority.keyPem, { mode: 0o600 });
    const configuration = `[ca]\ndefault_ca=d\n[d]\ndatabase=${folder}/index.txt\ncrlnumber=${folder}/crlnumber\ndefault_md=${options.digest ?? 'sha256'}\n`;
    writeFileSync(join(folder, 'ca.cnf'), configuration);
    const openssl = (...args: string[]): void => {
      execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    };
    const files = '-config ca.cnf -cert ca.pem -keyfile ca.key -out list.pem'.split(' ');
    const times = ['-crl_lastupdate', '20250101000000Z', '-crl_nextupdate', options.nextUpdate ?? '20401231000000Z'];
    openssl('ca', '-gencrl', ...files, ...times, ...(options.extraArguments ?? []));
    openssl('crl', '-in', 'list.pem', '-outform', 'DER', '-out', 'list.der');
    return readFileSync(join(folder, 'list.der'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function pem(label: string, der: ArrayBuffer | Uint8Array): string {
  const bytes = der instanceof Uint8Array ? Buffer.from(der) : Buffer.from(der);
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

export function derOfPem(text: string): Buffer {
  return Buffer.from(text.replace(/-----[^\n]+-----|\s/g, ''), 'base64');
}

function signingKeyOf(certificate: TestCertificate): Promise<webcrypto.CryptoKey> {
  const namedCurve = new x509.X509Certificate(certificate.certificatePem).publicKey.algorithm;
  return webcrypto.subtle.importKey('pkcs8', derOfPem(certificate.keyPem), namedCurve, false, ['sign']);
}
