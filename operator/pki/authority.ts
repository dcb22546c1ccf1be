import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** A certificate and its private key (PKCS#8), both PEM. The key is a secret: mode 0600, never logged. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Makes a self-signed EC P-256 CA, valid for ten years. */
export async function createAuthority(options: {
  readonly commonName: string;
  readonly now: Date;
}): Promise<IssuedCertificate> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(),
      name: nameOf(options.commonName),
      ...validity(options.now, AUTHORITY_DAYS),
      keys,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificatePem: pemOf(certificate), keyPem: await privateKeyPem(keys) };
}

/** Issues a certificate that `remote-cert-tls server` accepts. `names`: DNS names and addresses clients use, may be empty. */
export function issueServerCertificate(
  authority: IssuedCertificate,
  options: { readonly commonName: string; readonly names: readonly string[]; readonly now: Date },
): Promise<IssuedCertificate> {
  const names = options.names.map((value) => ({ type: isAddress(value) ? 'ip' : 'dns', value }) as const);
  return issue(authority, {
    ...options,
    usage: x509.ExtendedKeyUsage.serverAuth,
    extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])],
  });
}

/** Issues a client certificate whose identity is its common name. */
export function issueClientCertificate(
  authority: IssuedCertificate,
  options: { readonly commonName: string; readonly now: Date },
): Promise<IssuedCertificate> {
  return issue(authority, { ...options, usage: x509.ExtendedKeyUsage.clientAuth, extensions: [] });
}

async function issue(
  authority: IssuedCertificate,
  options: {
    readonly commonName: string;
    readonly now: Date;
    readonly usage: x509.ExtendedKeyUsage;
    readonly extensions: readonly x509.Extension[];
  },
): Promise<IssuedCertificate> {
  const issuer = new x509.X509Certificate(authority.certificatePem);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    x509.PemConverter.decodeFirst(authority.keyPem),
    KEY_ALGORITHM,
    false,
    ['sign'],
  );
  const keys = await newKeys();
  const validFor = validity(options.now, LEAF_DAYS);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: newSerial(),
      subject: nameOf(options.commonName),
      issuer: issuer.subjectName,
      ...validFor,
      // Chains are checked as a whole: a leaf that outlives its CA would promise what it can't hold.
      notAfter: validFor.notAfter < issuer.notAfter ? validFor.notAfter : issuer.notAfter,
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([options.usage], false),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
        ...options.extensions,
      ],
    },
    webcrypto,
  );
  return { certificatePem: pemOf(certificate), keyPem: await privateKeyPem(keys) };
}

function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

async function privateKeyPem(keys: CryptoKeyPair): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`;
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

/** 127 random bits with the top bit clear: positive in DER, and never zero in practice. */
function newSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0] & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

function nameOf(commonName: string): x509.Name {
  // The plain string form of a name has an escape syntax; a typed value is taken as it is.
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  // An hour back: the clock of a laptop may be a little behind.
  return { notBefore: new Date(now.getTime() - 3_600_000), notAfter: new Date(now.getTime() + days * 86_400_000) };
}

function isAddress(text: string): boolean {
  return text.includes(':') || /^[0-9]+(\.[0-9]+){3}$/.test(text);
}

type CryptoKeyPair = webcrypto.CryptoKeyPair;

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const AUTHORITY_DAYS = 3650;
const LEAF_DAYS = 825;
