import { createPrivateKey, sign, type KeyObject } from 'node:crypto';
import { CLIENT_AUTH, derOfPem, mint, pem, SERVER_AUTH, type TestCertificate } from '../support/certificates.ts';

const COMMON_NAME = 'client-000000';

/** Certificates for thousands of clients, each with a name of its own. They share one key: minting keys would take longer than the bench. */
export class ScaleIdentities {
  readonly authority: TestCertificate;
  readonly server: TestCertificate;
  readonly #template: TestCertificate;
  readonly #authorityKey: KeyObject;

  private constructor(parts: {
    readonly authority: TestCertificate;
    readonly server: TestCertificate;
    readonly template: TestCertificate;
  }) {
    this.authority = parts.authority;
    this.server = parts.server;
    this.#template = parts.template;
    this.#authorityKey = createPrivateKey(parts.authority.keyPem);
  }

  static async mint(): Promise<ScaleIdentities> {
    const authority = await mint({ commonName: 'Bench CA', authority: true });
    const server = await mint({ commonName: 'server', issuer: authority, usages: [SERVER_AUTH], sans: ['server'] });
    const template = await mint({ commonName: COMMON_NAME, issuer: authority, usages: [CLIENT_AUTH] });
    return new ScaleIdentities({ authority, server, template });
  }

  /** What another process needs to mint the same. Holds private keys of the bench's own CA. */
  export(): ExportedIdentities {
    return { authority: this.authority, server: this.server, template: this.#template };
  }

  static import(exported: ExportedIdentities): ScaleIdentities {
    return new ScaleIdentities(exported);
  }

  /** The certificate of client number `index`: the template's with another name, signed again. */
  client(index: number): TestCertificate {
    const template = derOfPem(this.#template.certificatePem);
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
    const tbs = Buffer.from(elementAt(template, contentOffset(template, 0)));
    const algorithm = elementAt(template, contentOffset(template, 0) + tbs.length);
    tbs.write(`client-${String(index).padStart(6, '0')}`, tbs.indexOf(COMMON_NAME), 'latin1');
    const signature = sign('sha256', tbs, this.#authorityKey);
    const bitString = encodeElement(0x03, Buffer.concat([Buffer.of(0), signature]));
    const certificate = encodeElement(0x30, Buffer.concat([tbs, algorithm, bitString]));
    return { certificatePem: pem('CERTIFICATE', certificate), keyPem: this.#template.keyPem };
  }
}

export interface ExportedIdentities {
  readonly authority: TestCertificate;
  readonly server: TestCertificate;
  readonly template: TestCertificate;
}

/** One whole DER element, head included. */
function elementAt(der: Buffer, offset: number): Buffer {
  const content = contentOffset(der, offset);
  const first = der[offset + 1];
  const length = first < 0x80 ? first : der.readUIntBE(offset + 2, first & 0x7f);
  return der.subarray(offset, content + length);
}

function contentOffset(der: Buffer, offset: number): number {
  const first = der[offset + 1];
  return offset + 2 + (first < 0x80 ? 0 : first & 0x7f);
}

function encodeElement(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content]);
  const length =
    content.length < 0x100
      ? Buffer.of(0x81, content.length)
      : Buffer.of(0x82, content.length >> 8, content.length & 0xff);
  return Buffer.concat([Buffer.of(tag), length, content]);
}
