import {
  derChildren,
  derContent,
  derObjectIdentifier,
  derSerial,
  DerTag,
  derText,
  derTime,
  derWhole,
  readDer,
  type DerElement,
} from '../../net/der.ts';

/** The fields of an X.509 certificate that a login is judged by, and that node:crypto has no accessor for. */
export interface CertificateFields {
  /** Upper-case hex without leading zeros. */
  readonly serial: string;
  /** The DER of the issuer's name. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** In the order of the subject, null where the text can't be decoded. */
  readonly commonNames: readonly (string | null)[];
  /** Object identifiers; empty without the extension. */
  readonly extendedKeyUsages: readonly string[];
  readonly isAuthority: boolean;
  readonly key: CertificateKey;
}

/** `curve` is an object identifier. */
export type CertificateKey =
  | { readonly kind: 'rsa'; readonly bits: number }
  | { readonly kind: 'ec'; readonly curve: string }
  | { readonly kind: 'other' };

/** Reads a DER certificate; undefined when it is not one. Its signature is not looked at. */
export function certificateFields(certificate: Uint8Array): CertificateFields | undefined {
  const whole = readDer(certificate);
  const tbs = whole?.tag === DerTag.Sequence ? derChildren(whole, 3)?.[0] : undefined;
  const all = tbs?.tag === DerTag.Sequence ? derChildren(tbs, 10) : undefined;
  if (all === undefined) return undefined;
  const [serialItem, , issuer, validity, subject, keyItem, ...rest] = all[0]?.tag === VERSION_TAG ? all.slice(1) : all;
  if (serialItem === undefined || issuer === undefined || validity === undefined || subject === undefined)
    return undefined;
  const key = keyItem === undefined ? undefined : keyOf(keyItem);
  const serial = derSerial(serialItem);
  const [notBefore, notAfter] = (derChildren(validity, 2) ?? []).map(derTime);
  const commonNames = commonNamesOf(subject);
  const extensions = extensionsOf(rest.find((item) => item.tag === EXTENSIONS_TAG));
  if (serial === undefined || notBefore === undefined || notAfter === undefined) return undefined;
  if (issuer.tag !== DerTag.Sequence || commonNames === undefined || extensions === undefined) return undefined;
  const extendedKeyUsages = extendedKeyUsagesOf(extensions.get(EXTENDED_KEY_USAGE));
  const isAuthority = isAuthorityOf(extensions.get(BASIC_CONSTRAINTS));
  if (extendedKeyUsages === undefined || isAuthority === undefined || key === undefined) return undefined;
  return {
    serial,
    issuer: derWhole(issuer),
    subject: derWhole(subject),
    notBefore,
    notAfter,
    commonNames,
    extendedKeyUsages,
    isAuthority,
    key,
  };
}

/** Of a SubjectPublicKeyInfo. */
function keyOf(item: DerElement): CertificateKey | undefined {
  const [algorithm, value] = derChildren(item, 2) ?? [];
  if (algorithm === undefined || value?.tag !== DerTag.BitString) return undefined;
  const [type, parameters] = derChildren(algorithm, 2) ?? [];
  const name = type === undefined ? undefined : derObjectIdentifier(type);
  if (name === undefined) return undefined;
  if (RSA_KEYS.has(name)) return rsaKeyOf(derContent(value));
  // A curve spelled out has no name to be trusted by.
  if (name !== EC_KEY || parameters?.tag !== DerTag.ObjectIdentifier) return { kind: 'other' };
  const curve = derObjectIdentifier(parameters);
  return curve === undefined ? undefined : { kind: 'ec', curve };
}

/** `[unused bits 0][RSAPublicKey]` */
function rsaKeyOf(bitString: Uint8Array): CertificateKey | undefined {
  const sequence = bitString[0] === 0 ? readDer(bitString, 1) : undefined;
  const modulus = sequence === undefined ? undefined : derChildren(sequence, 2)?.[0];
  if (modulus?.tag !== DerTag.Integer) return undefined;
  const content = derContent(modulus);
  const first = content.findIndex((octet) => octet !== 0);
  if (first < 0 || content[0] >= 0x80) return undefined;
  return { kind: 'rsa', bits: (content.length - first) * 8 - (Math.clz32(content[first]) - 24) };
}

function commonNamesOf(subject: DerElement): readonly (string | null)[] | undefined {
  const names: (string | null)[] = [];
  for (const relative of derChildren(subject) ?? []) {
    const attributes = derChildren(relative);
    if (relative.tag !== DerTag.Set || attributes === undefined) return undefined;
    for (const attribute of attributes) {
      const [type, value] = derChildren(attribute, 2) ?? [];
      if (type === undefined || value === undefined) return undefined;
      if (derObjectIdentifier(type) === COMMON_NAME) names.push(derText(value) ?? null);
    }
  }
  return names;
}

/** The extensions' values by identifier; a repeated one makes the certificate malformed (RFC 5280 4.2). */
function extensionsOf(item: DerElement | undefined): Map<string, Uint8Array> | undefined {
  const extensions = new Map<string, Uint8Array>();
  if (item === undefined) return extensions;
  const list = derChildren(item, 1)?.[0];
  const entries = list === undefined ? undefined : derChildren(list);
  if (entries === undefined) return undefined;
  for (const entry of entries) {
    const fields = derChildren(entry, 3);
    const type = fields?.[0] === undefined ? undefined : derObjectIdentifier(fields[0]);
    const value = fields?.at(-1);
    if (type === undefined || value?.tag !== DerTag.OctetString || extensions.has(type)) return undefined;
    extensions.set(type, derContent(value));
  }
  return extensions;
}

function extendedKeyUsagesOf(value: Uint8Array | undefined): readonly string[] | undefined {
  if (value === undefined) return [];
  const list = readDer(value);
  const usages = list === undefined ? undefined : derChildren(list)?.map(derObjectIdentifier);
  return usages?.every((usage) => usage !== undefined) === true ? usages : undefined;
}

function isAuthorityOf(value: Uint8Array | undefined): boolean | undefined {
  if (value === undefined) return false;
  const constraints = readDer(value);
  const first = constraints === undefined ? undefined : derChildren(constraints, 2);
  if (first === undefined) return undefined;
  return first[0]?.tag === DerTag.Boolean && derContent(first[0])[0] !== 0;
}

const VERSION_TAG = 0xa0;
const EXTENSIONS_TAG = 0xa3;
/** rsaEncryption and id-RSASSA-PSS. */
const RSA_KEYS: ReadonlySet<string> = new Set(['1.2.840.113549.1.1.1', '1.2.840.113549.1.1.10']);
const EC_KEY = '1.2.840.10045.2.1';
const COMMON_NAME = '2.5.4.3';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const BASIC_CONSTRAINTS = '2.5.29.19';
