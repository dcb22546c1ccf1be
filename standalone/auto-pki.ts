import { createHash, createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ControlWrapKind } from '../api/endpoint-snapshot.ts';
import { TerminalError } from '../net/errors.ts';
import {
  createAuthority,
  issueClientCertificate,
  issueServerCertificate,
  type IssuedCertificate,
} from '../operator/pki/authority.ts';
import { newStaticKey, newTlsCryptV2ServerKey } from '../operator/pki/wrap-keys.ts';
import { writeFileAtomic, type StateFolder } from './state-folder.ts';

/**
 * Certificates and keys made for Secrets that the manifests name but don't hold, kept in the state
 * folder. Every Secret has a CA of its own, so that a certificate of one endpoint opens no other.
 *
 *   pki/NAMESPACE/SECRET/ca.pem          certificate and key of the CA
 *   pki/NAMESPACE/SECRET/server.pem      certificate and key of the server
 *   pki/NAMESPACE/SECRET/tls-crypt.key   and the like
 *   pki/NAMESPACE/SECRET/clients/CN.pem  certificate and key of a client
 */
export class AutoPki {
  readonly #folder: StateFolder;
  readonly #now: () => Date;

  constructor(folder: StateFolder, now: () => Date) {
    this.#folder = folder;
    this.#now = now;
  }

  /** `tls.crt`, `tls.key` and `ca.crt`, as a Secret would hold them. */
  async serverSecret(namespace: string, secret: string, commonName: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const authority = await this.#authority(namespace, secret);
    const server = await this.#issued([namespace, secret, 'server.pem'], authority, () =>
      issueServerCertificate(authority, { commonName, names: [], now: this.#now() }),
    );
    return bytesOf({
      'tls.crt': server.certificatePem,
      'tls.key': server.keyPem,
      'ca.crt': authority.certificatePem,
    });
  }

  /**
   * Likewise, for a gateway that runs with `made`: clients know its CA, so there must be no other.
   *
   * @throws TerminalError when its CA is not in the state folder any more
   */
  async renewedServerSecret(
    namespace: string,
    secret: string,
    commonName: string,
    made: ReadonlyMap<string, Uint8Array>,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const path = [namespace, secret, 'ca.pem'];
    const stored = this.#read(path);
    if (stored === undefined || pairOf(stored, path).certificatePem !== textIn(made, 'ca.crt'))
      throw new TerminalError(`pki/${path.join('/')} in the state folder is not the CA that clients know`);
    return this.serverSecret(namespace, secret, commonName);
  }

  /** The CA that client certificates of this Secret are verified against, under the key the endpoint names. */
  async clientCaSecret(namespace: string, secret: string, key: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const authority = await this.#authority(namespace, secret);
    return bytesOf({ [key]: authority.certificatePem });
  }

  wrapSecret(
    namespace: string,
    secret: string,
    kind: Exclude<ControlWrapKind, 'None'>,
  ): ReadonlyMap<string, Uint8Array> {
    const name = WRAP_KEYS[kind];
    const path = [namespace, secret, name];
    const text =
      this.#read(path) ??
      this.#write(path, kind === 'TlsCryptV2' ? newTlsCryptV2ServerKey(randomBytes) : newStaticKey(randomBytes));
    return bytesOf({ [name]: text });
  }

  /**
   * The certificate of a client, the same each time until its last 30 days; from then on another, with another key. The
   * old one stays good until it ends.
   *
   * @throws TerminalError when the CA is not one of ours
   */
  async clientCertificate(namespace: string, secret: string, commonName: string): Promise<IssuedCertificate> {
    if (this.#read([namespace, secret, 'ca.pem']) === undefined)
      throw new TerminalError(`The client CA ${namespace}/${secret} was not made by --auto-pki`);
    const authority = await this.#authority(namespace, secret);
    return this.#issued([namespace, secret, 'clients', `${fileNameOf(commonName)}.pem`], authority, () =>
      issueClientCertificate(authority, { commonName, now: this.#now() }),
    );
  }

  async #authority(namespace: string, secret: string): Promise<IssuedCertificate> {
    const path = [namespace, secret, 'ca.pem'];
    const stored = this.#read(path);
    if (stored !== undefined) return pairOf(stored, path);
    const authority = await createAuthority({ commonName: `clientvpn ${secret}`, now: this.#now() });
    this.#write(path, textOf(authority));
    return authority;
  }

  /** The stored pair; a new one when there is none or it ends soon. */
  async #issued(
    path: readonly string[],
    authority: IssuedCertificate,
    issue: () => Promise<IssuedCertificate>,
  ): Promise<IssuedCertificate> {
    const stored = this.#read(path);
    if (stored !== undefined) {
      const pair = pairOf(stored, path);
      if (renewalTime(pair.certificatePem, authority.certificatePem) > this.#now().getTime()) return pair;
    }
    const pair = await issue();
    this.#write(path, textOf(pair));
    return pair;
  }

  #read(path: readonly string[]): string | undefined {
    return this.#folder.read(join('pki', ...inside(path)));
  }

  #write(path: readonly string[], text: string): string {
    const file = this.#folder.pathOf('pki', ...inside(path));
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileAtomic(file, text);
    return text;
  }
}

/** Milliseconds since 1970; infinite for a certificate that ends with its CA, which no other of it would outlive. */
export function renewalTime(certificatePem: string, authorityPem: string): number {
  const [end, authorityEnd] = [certificatePem, authorityPem].map((pem) =>
    new X509Certificate(pem).validToDate.getTime(),
  );
  return end < authorityEnd ? end - RENEW_BEFORE_MS : Number.POSITIVE_INFINITY;
}

/** The key of a Secret that holds a control wrap's key. */
export const WRAP_KEYS = {
  TlsAuth: 'tls-auth.key',
  TlsCrypt: 'tls-crypt.key',
  TlsCryptV2: 'tls-crypt-v2-server.key',
} as const;

function bytesOf(texts: Readonly<Record<string, string>>): ReadonlyMap<string, Uint8Array> {
  return new Map(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text, 'utf8')]));
}

function textIn(data: ReadonlyMap<string, Uint8Array>, key: string): string {
  return Buffer.from(data.get(key) ?? []).toString('utf8');
}

/** Certificate and key in one file: a crash between two files can't leave a pair that does not match. */
function textOf(pair: IssuedCertificate): string {
  return `${pair.certificatePem.trim()}\n${pair.keyPem.trim()}\n`;
}

function pairOf(text: string, path: readonly string[]): IssuedCertificate {
  const [certificatePem, keyPem] = ['CERTIFICATE', 'PRIVATE KEY'].map(
    (label) => new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`).exec(text)?.[0],
  );
  if (certificatePem === undefined || keyPem === undefined || !isPair(certificatePem, keyPem))
    throw new TerminalError(
      `pki/${path.join('/')} in the state folder does not hold a certificate and its key. Put back a copy of it, or ` +
        (path.at(-1) === 'ca.pem'
          ? 'move its folder away and hand out new client files'
          : 'move it away: then another is made'),
    );
  return { certificatePem: `${certificatePem}\n`, keyPem: `${keyPem}\n` };
}

function isPair(certificatePem: string, keyPem: string): boolean {
  try {
    return new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}

/** Names of Secrets in manifests are anybody's text; as a path one could lead out of the folder. */
function inside(path: readonly string[]): readonly string[] {
  const outside = path.find((part) => part.includes('/') || part.startsWith('.'));
  if (outside !== undefined)
    throw new TerminalError(`${JSON.stringify(outside)} is no name of a Secret that --auto-pki could make`);
  return path;
}

/** Any common name as the name of a file, different ones for different names. */
function fileNameOf(commonName: string): string {
  const encoded = encodeURIComponent(commonName).replaceAll('.', '%2E');
  return encoded.length <= 200 ? encoded : `sha256-${createHash('sha256').update(commonName).digest('hex')}`;
}

const RENEW_BEFORE_MS = 30 * 86_400_000;
