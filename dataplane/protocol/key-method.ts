import { ByteBuffer } from './byte-buffer.ts';
import { concatBytes, isAllZero, u16Bytes, u32Bytes, utf8Bytes, utf8Text, viewOf } from './bytes.ts';

/** What a client contributes to the keys. */
export interface ClientKeySource {
  /** 48 bytes. */
  readonly preMaster: Uint8Array;
  /** 32 bytes each. */
  readonly random1: Uint8Array;
  readonly random2: Uint8Array;
}

/** What we contribute: 32 bytes each. */
export interface ServerKeySource {
  readonly random1: Uint8Array;
  readonly random2: Uint8Array;
}

/** A client's key-method-2 message. Everything in it is the client's word. */
export interface KeyMethodMessage {
  /** `aws`: lengths of 32 bits, as the AWS client writes. Our answer is stock either way. */
  readonly framing: 'stock' | 'aws';
  readonly source: ClientKeySource;
  /** The OCC string. */
  readonly options: string;
  /** Without control characters. */
  readonly username: string;
  readonly password: string;
  readonly peerInfo: string;
  /** Username over 256 characters, or password over what the framing allows: refuse the login with the text. */
  readonly credentialsTooLong: boolean;
}

/** Why a key-method message can't be read. The value is a metric label. */
export const KeyMethodFailure = {
  NotKeyMethod2: 'not-key-method-2',
  BadLength: 'key-method-bad-length',
  TooLong: 'key-method-too-long',
  StringBeyondEnd: 'key-method-string-beyond-end',
  TrailingBytes: 'key-method-trailing-bytes',
} as const;
export type KeyMethodFailure = (typeof KeyMethodFailure)[keyof typeof KeyMethodFailure];

export type KeyMethodStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'failed'; readonly reason: KeyMethodFailure }
  /** `rest`: what followed in the stream, control messages already. */
  | { readonly kind: 'done'; readonly message: KeyMethodMessage; readonly rest: Uint8Array };

export const CREDENTIALS_TOO_LONG_TEXT = 'Username or password is too long';

const FIXED_BYTES = 4 + 1 + 48 + 32 + 32;
/** The fixed part and four empty strings of 32-bit length. */
const MIN_AWS_BYTES = FIXED_BYTES + 16;
const MAX_AWS_BYTES = 262_144;
const MAX_STOCK_BYTES = 65_536;
const MAX_USERNAME_CHARACTERS = 256;
const MAX_PASSWORD_CHARACTERS = { stock: 65_534, aws: 131_071 } as const;

/**
 * Collects a client's key-method-2 message from however many pieces TLS delivers it in. Memory grows with what was
 * received, never with what a length field announces.
 */
export class KeyMethodParser {
  readonly #received = new ByteBuffer();
  #finished = false;

  /** Takes plaintext; after `done` or `failed` it must not be called again. */
  push(bytes: Uint8Array): KeyMethodStep {
    if (this.#finished) return failed(KeyMethodFailure.TrailingBytes);
    const kept = bytes.subarray(0, MAX_AWS_BYTES + 1 - this.#received.length);
    this.#received.append(kept);
    return this.#settle(this.#parse(false), bytes.subarray(kept.length));
  }

  /**
   * Judges what there is when nothing more came for 2 s: very old clients end after the options or the password.
   * `more` when it is no whole message even then: a record of 16 KiB takes longer over a long or lossy way.
   */
  finishLegacy(): KeyMethodStep {
    return this.#settle(this.#parse(true), new Uint8Array(0));
  }

  /** Overwrites what was received: it holds key material and a password. */
  wipe(): void {
    this.#received.wipe();
    this.#finished = true;
  }

  #settle(step: KeyMethodStep, beyond: Uint8Array): KeyMethodStep {
    if (step.kind === 'more') return step;
    const settled = step.kind === 'done' ? { ...step, rest: concatBytes(step.rest, beyond) } : step;
    this.wipe();
    return settled;
  }

  #parse(isEnd: boolean): KeyMethodStep {
    const bytes = this.#received.view();
    if (bytes.length < 5) return { kind: 'more' };
    if ((bytes[4] & 0x0f) !== 2) return failed(KeyMethodFailure.NotKeyMethod2);
    return isAllZero(bytes.subarray(0, 4)) ? parseStock(bytes, isEnd) : parseAws(bytes);
  }
}

function parseStock(bytes: Uint8Array, isEnd: boolean): KeyMethodStep {
  const reader = new StringReader(bytes.subarray(0, MAX_STOCK_BYTES), 2);
  const strings = reader.readAll();
  // Options alone, or options and both credentials: the two places where old clients end.
  const isLegacyEnd = isEnd && !reader.isMidString && (strings.length === 1 || strings.length === 3);
  if (strings.length < 4 && !isLegacyEnd) {
    return bytes.length > MAX_STOCK_BYTES || reader.announcedEnd > MAX_STOCK_BYTES
      ? failed(KeyMethodFailure.TooLong)
      : { kind: 'more' };
  }
  return { kind: 'done', message: messageFrom('stock', bytes, strings), rest: bytes.slice(reader.offset) };
}

function parseAws(bytes: Uint8Array): KeyMethodStep {
  // Little-endian: the client writes it as its processor keeps it.
  const length = viewOf(bytes).getUint32(0, true);
  if (length < MIN_AWS_BYTES || length > MAX_AWS_BYTES) return failed(KeyMethodFailure.BadLength);
  if (bytes.length < length) return { kind: 'more' };
  const reader = new StringReader(bytes.subarray(0, length), 4);
  const strings = reader.readAll();
  if (strings.length < 4) return failed(KeyMethodFailure.StringBeyondEnd);
  if (reader.offset !== length) return failed(KeyMethodFailure.TrailingBytes);
  return { kind: 'done', message: messageFrom('aws', bytes, strings), rest: bytes.slice(length) };
}

function messageFrom(framing: 'stock' | 'aws', bytes: Uint8Array, strings: readonly Uint8Array[]): KeyMethodMessage {
  const [options, username = '', password = '', peerInfo = ''] = strings.map(textOf);
  return {
    framing,
    source: { preMaster: bytes.slice(5, 53), random1: bytes.slice(53, 85), random2: bytes.slice(85, 117) },
    options,
    username: withoutControlCharacters(username),
    password,
    peerInfo,
    credentialsTooLong: username.length > MAX_USERNAME_CHARACTERS || password.length > MAX_PASSWORD_CHARACTERS[framing],
  };
}

/** Text up to the first NUL. The last byte counts as the terminator whatever it is. */
function textOf(string: Uint8Array): string {
  const text = string.subarray(0, Math.max(string.length - 1, 0));
  const end = text.indexOf(0);
  return utf8Text(end < 0 ? text : text.subarray(0, end));
}

/**
 * Up to four strings of `[length][bytes][NUL]` after the fixed part; the length counts the NUL and may be 0. Gives views:
 * decoding waits for the end, so that a message in many small pieces costs no more than one in a single piece.
 */
class StringReader {
  offset = FIXED_BYTES;
  /** Where the string that did not fit would end. */
  announcedEnd = 0;
  readonly #bytes: Uint8Array;
  readonly #lengthBytes: 2 | 4;

  constructor(bytes: Uint8Array, lengthBytes: 2 | 4) {
    this.#bytes = bytes;
    this.#lengthBytes = lengthBytes;
  }

  get isMidString(): boolean {
    return this.offset !== this.#bytes.length;
  }

  readAll(): readonly Uint8Array[] {
    const strings: Uint8Array[] = [];
    while (strings.length < 4) {
      const string = this.#read();
      if (string === undefined) break;
      strings.push(string);
    }
    return strings;
  }

  #read(): Uint8Array | undefined {
    const start = this.offset + this.#lengthBytes;
    if (start > this.#bytes.length) return undefined;
    const view = viewOf(this.#bytes);
    const length = this.#lengthBytes === 2 ? view.getUint16(this.offset) : view.getUint32(this.offset);
    if (start + length > this.#bytes.length) {
      this.announcedEnd = start + length;
      return undefined;
    }
    this.offset = start + length;
    return this.#bytes.subarray(start, start + length);
  }
}

/** `[0 ×4][2][random1 32][random2 32][options][empty ×3]` in stock framing. */
export function encodeServerKeyMethod(source: ServerKeySource, options: string): Uint8Array {
  const text = concatBytes(utf8Bytes(options), Uint8Array.of(0));
  return concatBytes(
    u32Bytes(0),
    Uint8Array.of(2),
    source.random1,
    source.random2,
    u16Bytes(text.length),
    text,
    new Uint8Array(6),
  );
}

function withoutControlCharacters(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '');
}

function failed(reason: KeyMethodFailure): KeyMethodStep {
  return { kind: 'failed', reason };
}
