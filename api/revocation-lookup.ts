import type { RevocationListMaterial } from './data-plane-config.ts';

/** Who issued a certificate and its number, as in `Identity.certificateSerial`. */
export interface CertificateReference {
  readonly issuerNameHash: string;
  /** Upper-case hex without leading zeros. */
  readonly serial: string;
}

/** A revocation list ready to be asked: entries of one issuer, searched in place. */
export interface RevocationIndex {
  readonly issuerNameHash: string;
  readonly nextUpdate: number | null;
  readonly serialBytes: number;
  /** Ascending, `serialBytes` each. */
  readonly serials: Uint8Array;
}

/** Decodes a list once, so that lookups allocate nothing but the serial. */
export function revocationIndexOf(material: RevocationListMaterial): RevocationIndex {
  const { issuerNameHash, nextUpdate, serialBytes } = material;
  return { issuerNameHash, nextUpdate, serialBytes, serials: bytesFromBase64(material.serials) };
}

/** Whether a list of the certificate's issuer names its serial. Binary search. */
export function isRevoked(lists: readonly RevocationIndex[], certificate: CertificateReference): boolean {
  return lists.some((list) => list.issuerNameHash === certificate.issuerNameHash && contains(list, certificate.serial));
}

function contains(list: RevocationIndex, serial: string): boolean {
  const width = list.serialBytes;
  if (width === 0 || serial.length > width * 2) return false;
  const wanted = bytesFromHex(serial.padStart(width * 2, '0'));
  let low = 0;
  let high = list.serials.length / width - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = compareAt(list.serials, middle * width, wanted);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

function compareAt(serials: Uint8Array, offset: number, wanted: Uint8Array): number {
  for (let index = 0; index < wanted.length; index += 1) {
    const difference = serials[offset + index] - wanted[index];
    if (difference !== 0) return difference;
  }
  return 0;
}

function bytesFromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

function bytesFromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) => parseInt(text.slice(index * 2, index * 2 + 2), 16));
}
