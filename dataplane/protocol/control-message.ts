import { decodeBase64 } from './base64.ts';
import { ByteBuffer } from './byte-buffer.ts';
import { concatBytes, utf8Bytes, utf8Text } from './bytes.ts';

/** What a client may say after the key exchange. `ignored` is never acted on. */
export type ClientMessage =
  | { readonly kind: 'pushRequest' }
  | { readonly kind: 'exit' }
  | { readonly kind: 'challengeResponse'; readonly response: string }
  | { readonly kind: 'ignored'; readonly reason: IgnoredReason };

export type IgnoredReason = 'unknown' | 'unprintable' | 'too-long' | 'malformed' | 'too-many';

/** What is acted on is a quarter of this at most; a client that has no verdict yet can have no more kept. */
const MAX_CLIENT_MESSAGE_BYTES = 4_096;
/** In one record. Stock clients send a message in each. */
const MAX_MESSAGES_AT_ONCE = 32;
const MAX_CHALLENGE_RESPONSE_CHARACTERS = 1024;
const MAX_REASON_CHARACTERS = 200;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Cuts a TLS stream into control messages; a message counts only once its NUL has come. */
export class ControlMessageReader {
  readonly #pending = new ByteBuffer();
  #isOverlong = false;

  /** Empty messages are left out. */
  push(bytes: Uint8Array): readonly ClientMessage[] {
    const messages: ClientMessage[] = [];
    let start = 0;
    for (let ended = 0, end = bytes.indexOf(0); end >= 0; ended += 1, end = bytes.indexOf(0, start)) {
      // A record of one-letter messages would cost a thousand times what its bytes do: of the others none is looked at.
      if (ended === MAX_MESSAGES_AT_ONCE) {
        messages.push({ kind: 'ignored', reason: 'too-many' });
        start = bytes.lastIndexOf(0) + 1;
        break;
      }
      this.#keep(bytes.subarray(start, end));
      const message = this.#take();
      if (message !== undefined) messages.push(message);
      start = end + 1;
    }
    this.#keep(bytes.subarray(start));
    return messages;
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0 || this.#isOverlong) return;
    this.#isOverlong = this.#pending.length + part.length > MAX_CLIENT_MESSAGE_BYTES;
    if (this.#isOverlong) this.#pending.wipe();
    else this.#pending.append(part);
  }

  #take(): ClientMessage | undefined {
    const isOverlong = this.#isOverlong;
    const message = this.#pending.length === 0 ? undefined : parseClientMessage(this.#pending.view());
    this.#pending.wipe();
    this.#isOverlong = false;
    return isOverlong ? { kind: 'ignored', reason: 'too-long' } : message;
  }
}

/** Judges one message without its NUL. */
export function parseClientMessage(bytes: Uint8Array): ClientMessage {
  let end = bytes.length;
  // Not by /[\r\n]+$/, which takes a third of a minute over 64 KiB of line breaks with something behind them.
  while (bytes[end - 1] === LINE_FEED || bytes[end - 1] === CARRIAGE_RETURN) end -= 1;
  const text = utf8Text(bytes.subarray(0, end));
  if (/\p{Cc}/u.test(text)) return { kind: 'ignored', reason: 'unprintable' };
  if (text === 'PUSH_REQUEST') return { kind: 'pushRequest' };
  if (text === 'EXIT') return { kind: 'exit' };
  if (text.startsWith('CR_RESPONSE,')) return challengeResponse(text.slice('CR_RESPONSE,'.length));
  return { kind: 'ignored', reason: 'unknown' };
}

function challengeResponse(encoded: string): ClientMessage {
  if (encoded.length > MAX_CHALLENGE_RESPONSE_CHARACTERS) return { kind: 'ignored', reason: 'too-long' };
  const response = decodeBase64(encoded);
  return response === undefined
    ? { kind: 'ignored', reason: 'malformed' }
    : { kind: 'challengeResponse', response: utf8Text(response) };
}

/** The bytes of one message: text and NUL. They must go out in one TLS write, so that they form one record. */
export function encodeControlMessage(text: string): Uint8Array {
  return concatBytes(utf8Bytes(text), Uint8Array.of(0));
}

/** An empty reason gives the bare message. */
export function authFailedMessage(reason: string): string {
  return withReason('AUTH_FAILED', ',', reason);
}

/** Only for clients that announced it; others take it for a refusal. */
export function authFailedTemporaryMessage(options: {
  readonly backoffS?: number;
  readonly advance?: 'no' | 'addr' | 'remote';
  readonly reason: string;
}): string {
  const flags: string[] = [];
  if (options.backoffS !== undefined) flags.push(`backoff ${options.backoffS}`);
  if (options.advance !== undefined) flags.push(`advance ${options.advance}`);
  const bracketed = flags.length === 0 ? '' : `[${flags.join(',')}]`;
  return `AUTH_FAILED,TEMP${bracketed}:${printableReason(options.reason)}`;
}

/** @param timeoutS null for clients that know no keywords. */
export function authPendingMessage(timeoutS: number | null): string {
  return timeoutS === null ? 'AUTH_PENDING' : `AUTH_PENDING,timeout ${timeoutS}`;
}

/** Asks the client's UI for a web login. */
export function webAuthMessage(url: string): string {
  return `INFO_PRE,WEB_AUTH::${url}`;
}

export function openUrlMessage(url: string): string {
  return `INFO_PRE,OPEN_URL:${url}`;
}

/** Asks for a text; the answer is CR_RESPONSE. */
export function textChallengeMessage(text: string, options: { readonly echo: boolean }): string {
  return `INFO_PRE,CR_TEXT:${options.echo ? 'E,R' : 'R'}:${printableReason(text)}`;
}

export interface RestartOptions {
  /** The client keeps what its user typed. */
  readonly keepCredentials: boolean;
  /** The client tries its next remote. */
  readonly nextRemote: boolean;
  readonly reason: string;
}

/** Asks the client to reconnect. OpenVPN 3 knows the flag P only when it stands alone. */
export function restartMessage(options: RestartOptions): string {
  const flags = (options.keepCredentials ? 'P' : '') + (options.nextRemote ? 'N' : '');
  return withReason(flags === '' ? 'RESTART' : `RESTART,[${flags}]`, flags === '' ? ',' : ':', options.reason);
}

/** Asks the client to stay away. */
export function haltMessage(reason: string): string {
  return withReason('HALT', ',', reason);
}

/** `text` with control characters replaced by blanks, at most 200 characters: clients discard a message with any. */
export function printableReason(text: string): string {
  return Array.from(printableText(text)).slice(0, MAX_REASON_CHARACTERS).join('');
}

/** `text` with control characters replaced by blanks. */
export function printableText(text: string): string {
  return text.toWellFormed().replaceAll(/\p{Cc}+/gu, ' ');
}

function withReason(message: string, separator: ',' | ':', reason: string): string {
  const printable = printableReason(reason);
  return printable === '' ? message : message + separator + printable;
}
