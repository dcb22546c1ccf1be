/** One DER element: where it and its content lie in `bytes`. */
export interface DerElement {
  readonly bytes: Uint8Array;
  /** The identifier octet, e.g. 0x30 for SEQUENCE. */
  readonly tag: number;
  /** Offset of the identifier octet. */
  readonly start: number;
  readonly contentStart: number;
  readonly end: number;
}

export const DerTag = {
  Boolean: 0x01,
  Integer: 0x02,
  BitString: 0x03,
  OctetString: 0x04,
  ObjectIdentifier: 0x06,
  Utf8String: 0x0c,
  PrintableString: 0x13,
  TeletexString: 0x14,
  Ia5String: 0x16,
  UtcTime: 0x17,
  GeneralizedTime: 0x18,
  UniversalString: 0x1c,
  BmpString: 0x1e,
  Sequence: 0x30,
  Set: 0x31,
} as const;

/**
 * Reads the element at `offset`; it must end at or before `limit`.
 *
 * @returns undefined for anything that is not DER: multi-byte tags, indefinite or overlong lengths, truncation.
 */
export function readDer(bytes: Uint8Array, offset = 0, limit = bytes.length): DerElement | undefined {
  if (limit > bytes.length || offset + 2 > limit) return undefined;
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if ((tag & 0x1f) === 0x1f) return undefined;
  if (first < 0x80) return element(bytes, tag, offset, offset + 2, first, limit);
  const octets = first & 0x7f;
  if (octets < 1 || octets > 4 || offset + 2 + octets > limit || bytes[offset + 2] === 0) return undefined;
  let length = 0;
  for (let index = 0; index < octets; index += 1) length = length * 256 + bytes[offset + 2 + index];
  return length < 0x80 ? undefined : element(bytes, tag, offset, offset + 2 + octets, length, limit);
}

/** The elements inside a constructed element, or undefined when they do not fill it exactly or are more than `most`. */
export function derChildren(parent: DerElement, most = 1000): readonly DerElement[] | undefined {
  const children: DerElement[] = [];
  for (let offset = parent.contentStart; offset < parent.end;) {
    const child = readDer(parent.bytes, offset, parent.end);
    if (child === undefined || children.length === most) return undefined;
    children.push(child);
    offset = child.end;
  }
  return children;
}

/** The content octets, as a view. */
export function derContent(item: DerElement): Uint8Array {
  return item.bytes.subarray(item.contentStart, item.end);
}

/** The whole element with its identifier and length, as a view. */
export function derWhole(item: DerElement): Uint8Array {
  return item.bytes.subarray(item.start, item.end);
}

/** Milliseconds since 1970 of a UTCTime or GeneralizedTime in the form RFC 5280 asks for. */
export function derTime(item: DerElement): number | undefined {
  const text = String.fromCharCode(...derContent(item).subarray(0, 16));
  const match =
    item.tag === DerTag.UtcTime
      ? /^([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(text)
      : item.tag === DerTag.GeneralizedTime
        ? /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(text)
        : null;
  if (match === null) return undefined;
  const [yearField, month, day, hour, minute, second] = match.slice(1).map(Number);
  const century = item.tag === DerTag.GeneralizedTime ? 0 : yearField < 50 ? 2000 : 1900;
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return undefined;
  return Date.UTC(century + yearField, month - 1, day, hour, minute, second);
}

/** Dotted decimal, e.g. `2.5.4.3`. */
export function derObjectIdentifier(item: DerElement): string | undefined {
  const content = derContent(item);
  if (item.tag !== DerTag.ObjectIdentifier || content.length === 0 || content.length > 32) return undefined;
  const arcs: number[] = [];
  let value = 0;
  for (const [index, octet] of content.entries()) {
    if (value > 0xffffff) return undefined;
    value = value * 128 + (octet & 0x7f);
    if ((octet & 0x80) !== 0) {
      if (index === content.length - 1) return undefined;
      continue;
    }
    if (arcs.length === 0)
      arcs.push(Math.min(2, Math.floor(value / 40)), value - 40 * Math.min(2, Math.floor(value / 40)));
    else arcs.push(value);
    value = 0;
  }
  return arcs.join('.');
}

/** Text of a directory string; undefined for another type or bytes that are not text of that type. */
export function derText(item: DerElement): string | undefined {
  const content = derContent(item);
  switch (item.tag) {
    case DerTag.Utf8String:
      return decode('utf-8', content);
    case DerTag.PrintableString:
    case DerTag.Ia5String:
      return content.every((octet) => octet < 0x80) ? decode('latin1', content) : undefined;
    case DerTag.TeletexString:
      return decode('latin1', content);
    case DerTag.BmpString:
      return content.length % 2 === 0 ? decode('utf-16be', content) : undefined;
    case DerTag.UniversalString:
      return universalText(content);
    default:
      return undefined;
  }
}

/** Upper-case hex of a non-negative INTEGER without leading zeros (`0` for zero); undefined for a negative or empty one. */
export function derSerial(item: DerElement): string | undefined {
  const content = derContent(item);
  if (item.tag !== DerTag.Integer || content.length === 0 || content[0] >= 0x80) return undefined;
  let text = '';
  for (const octet of content) text += octet.toString(16).padStart(2, '0');
  return text.replace(/^0+(?=.)/, '').toUpperCase();
}

function element(
  bytes: Uint8Array,
  tag: number,
  start: number,
  contentStart: number,
  length: number,
  limit: number,
): DerElement | undefined {
  const end = contentStart + length;
  return end > limit ? undefined : { bytes, tag, start, contentStart, end };
}

function decode(encoding: string, content: Uint8Array): string | undefined {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return undefined;
  }
}

function universalText(content: Uint8Array): string | undefined {
  if (content.length % 4 !== 0) return undefined;
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  let text = '';
  for (let offset = 0; offset < content.length; offset += 4) {
    const point = view.getUint32(offset);
    if (point > 0x10ffff) return undefined;
    text += String.fromCodePoint(point);
  }
  return text;
}
