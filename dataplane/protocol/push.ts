import { utf8Bytes } from './bytes.ts';

/** Why a text can't be pushed as one option. */
export const PushProblem = {
  Empty: 'is empty',
  HasComma: 'contains a comma, which separates options and cannot be escaped',
  TooLong: 'is longer than 255 bytes',
  ControlCharacter: 'contains a control character',
  TooManyArguments: 'has more than 16 arguments',
  NotUpdatable: 'cannot be changed while connected',
} as const;
export type PushProblem = (typeof PushProblem)[keyof typeof PushProblem];

export type PushResult =
  /** One text for each control message, in order. */
  | { readonly ok: true; readonly messages: readonly string[] }
  /** A configuration error. */
  | { readonly ok: false; readonly option: string; readonly problem: PushProblem };

/** Characters of one message; a stock client's buffer is 1024 with the NUL. */
export const MAX_PUSH_MESSAGE_BYTES = 1023;
/** 1024 less 84 and 12, as the stock server reserves. */
export const MAX_PUSH_UPDATE_BYTES = 928;
const MAX_OPTION_BYTES = 255;
const MAX_ARGUMENTS = 16;
const CONTINUES = ',push-continuation 2';
const ENDS = ',push-continuation 1';

/** Collects the options of a session and lays them out in messages. */
export class PushReply {
  readonly #options: string[] = [];
  readonly #lastOptions: string[] = [];

  add(...options: readonly string[]): this {
    this.#options.push(...options);
    return this;
  }

  /** Options that clients want in the last message: ifconfig, peer-id, cipher, protocol-flags, tun-mtu. */
  addToLast(...options: readonly string[]): this {
    this.#lastOptions.push(...options);
    return this;
  }

  build(): PushResult {
    return layOut('PUSH_REPLY', this.#options, this.#lastOptions, MAX_PUSH_MESSAGE_BYTES);
  }
}

export interface PushUpdate {
  /** Whole options; all values an option had before are replaced by those named here. */
  readonly set: readonly string[];
  /** Names of options to remove altogether. */
  readonly remove: readonly string[];
}

const UPDATABLE: ReadonlySet<string> = new Set([
  'block-ipv6',
  'block-outside-dns',
  'dhcp-option',
  'dns',
  'ifconfig',
  'ifconfig-ipv6',
  'redirect-gateway',
  'redirect-private',
  'route',
  'route-gateway',
  'route-ipv6',
  'route-metric',
  'topology',
  'tun-mtu',
]);

/** Messages that change options of a connected client that announced PUSH_UPDATE. */
export function pushUpdateMessages(update: PushUpdate): PushResult {
  const options = [...update.remove.map((name) => `-${name}`), ...update.set];
  for (const option of options) {
    const name = /^-?([^ ]*)/.exec(option)?.[1] ?? '';
    if (!UPDATABLE.has(name)) return { ok: false, option, problem: PushProblem.NotUpdatable };
  }
  return layOut('PUSH_UPDATE', options, [], MAX_PUSH_UPDATE_BYTES);
}

/** The first reason why `option` can't be pushed, or undefined. */
export function pushProblem(option: string): PushProblem | undefined {
  if (option.trim() === '') return PushProblem.Empty;
  if (option.includes(',')) return PushProblem.HasComma;
  if (/\p{Cc}/u.test(option)) return PushProblem.ControlCharacter;
  if (utf8Bytes(option).length > MAX_OPTION_BYTES) return PushProblem.TooLong;
  if (countArguments(option) > MAX_ARGUMENTS) return PushProblem.TooManyArguments;
  return undefined;
}

/** `argument` as it must stand in an option: quoted when it is empty or has a character that the client's parser knows. */
export function quotePushArgument(argument: string): string {
  if (/^[^\s"'\\#;]+$/.test(argument)) return argument;
  return `"${argument.replaceAll(/[\\"]/g, String.raw`\$&`)}"`;
}

function layOut(
  command: 'PUSH_REPLY' | 'PUSH_UPDATE',
  options: readonly string[],
  lastOptions: readonly string[],
  maxBytes: number,
): PushResult {
  for (const option of [...options, ...lastOptions]) {
    const problem = pushProblem(option);
    if (problem !== undefined) return { ok: false, option, problem };
  }
  const room = maxBytes - CONTINUES.length;
  const bodies: string[] = [];
  let body: string = command;
  let bodyBytes = command.length;
  const append = (text: string): void => {
    const bytes = utf8Bytes(text).length;
    if (bodyBytes + bytes > room && body !== command) {
      bodies.push(body);
      body = command;
      bodyBytes = command.length;
    }
    body += text;
    bodyBytes += bytes;
  };
  for (const option of options) append(`,${option}`);
  const last = lastOptions.map((option) => `,${option}`);
  if (command.length + utf8Bytes(last.join('')).length <= room) append(last.join(''));
  else for (const option of last) append(option);
  bodies.push(body);

  if (bodies.length === 1) return { ok: true, messages: bodies };
  const messages = bodies.map((text, at) => text + (at === bodies.length - 1 ? ENDS : CONTINUES));
  return { ok: true, messages };
}

/** Blanks separate arguments unless quoted or escaped. */
function countArguments(option: string): number {
  return option.match(/(?:"(?:\\.|[^"\\])*"?|'[^']*'?|\\.|[^\s"'\\])+/gs)?.length ?? 0;
}
