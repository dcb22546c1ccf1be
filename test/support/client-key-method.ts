import { concatBytes, u16Bytes, u32Bytes, utf8Bytes, utf8Text, viewOf } from '../../dataplane/protocol/bytes.ts';
import type { ClientKeySource, ServerKeySource } from '../../dataplane/protocol/key-method.ts';

/** The client's side of key method 2. */
export interface ClientKeyMethod {
  readonly framing: 'stock' | 'aws';
  readonly source: ClientKeySource;
  readonly options: string;
  readonly username: string;
  readonly password: string;
  readonly peerInfo: string;
}

export function encodeClientKeyMethod(message: ClientKeyMethod): Uint8Array {
  const isAws = message.framing === 'aws';
  const string = (text: string): Uint8Array => {
    const bytes = text === '' ? new Uint8Array(0) : concatBytes(utf8Bytes(text), Uint8Array.of(0));
    return concatBytes(isAws ? u32Bytes(bytes.length) : u16Bytes(bytes.length), bytes);
  };
  const { source, options, username, password, peerInfo } = message;
  const encoded = concatBytes(
    u32Bytes(0),
    Uint8Array.of(2),
    source.preMaster,
    source.random1,
    source.random2,
    ...[options, username, password, peerInfo].map(string),
  );
  if (isAws) viewOf(encoded).setUint32(0, encoded.length, true);
  return encoded;
}

export interface ServerKeyMethod {
  readonly source: ServerKeySource;
  readonly options: string;
  readonly rest: Uint8Array;
}

/** Reads the server's answer as a strict client does: exact start, non-empty options, three empty strings. */
export function parseServerKeyMethod(bytes: Uint8Array): ServerKeyMethod | 'more' | 'malformed' {
  if (bytes.length < 71) return 'more';
  if (viewOf(bytes).getUint32(0) !== 0 || bytes[4] !== 2) return 'malformed';
  const length = viewOf(bytes).getUint16(69);
  const end = 71 + length + 6;
  if (bytes.length < end) return 'more';
  if (length < 2 || bytes[70 + length] !== 0 || bytes.subarray(71 + length, end).some((byte) => byte !== 0)) {
    return 'malformed';
  }
  return {
    source: { random1: bytes.slice(5, 37), random2: bytes.slice(37, 69) },
    options: utf8Text(bytes.subarray(71, 70 + length)),
    rest: bytes.slice(end),
  };
}
