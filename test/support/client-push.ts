import type { DataCipher } from '../../dataplane/data-channel.ts';
import type { ClientDataFormat } from './client-data-channel.ts';

/** What a client took from the whole push, continuation parts joined. */
export interface PushedSettings {
  readonly options: readonly string[];
  readonly cipher: DataCipher;
  readonly usesExporter: boolean;
  readonly dynamicTlsCrypt: boolean;
  readonly exitByControl: boolean;
  readonly data: ClientDataFormat;
  /** Null: not pushed. */
  readonly tunnelAddress: string | null;
  readonly pingMs: number;
  readonly pingRestartMs: number;
}

/** Reads the options of a push. @param fallbackCipher what the client uses when no cipher is pushed */
export function settingsFromPush(options: readonly string[], fallbackCipher: DataCipher): PushedSettings {
  const argument = (name: string): string | undefined =>
    options.findLast((option) => option.startsWith(`${name} `))?.slice(name.length + 1);
  const flags = argument('protocol-flags')?.split(' ') ?? [];
  const peerId = argument('peer-id');
  const stub = options.includes('compress stub-v2') ? 'stub-v2' : 'none';
  return {
    options,
    cipher: (argument('cipher') as DataCipher | undefined) ?? fallbackCipher,
    usesExporter: flags.includes('tls-ekm') || argument('key-derivation') === 'tls-ekm',
    dynamicTlsCrypt: flags.includes('dyn-tls-crypt'),
    exitByControl: flags.includes('cc-exit'),
    data: {
      peerId: peerId === undefined ? null : Number(peerId),
      framing: options.includes('comp-lzo no') ? 'comp-lzo' : stub,
      epochFormat: flags.includes('aead-epoch'),
    },
    tunnelAddress: argument('ifconfig')?.split(' ')[0] ?? null,
    pingMs: Number(argument('ping') ?? 0) * 1000,
    pingRestartMs: Number(argument('ping-restart') ?? 120) * 1000,
  };
}

/** Collects PUSH_REPLY parts until the last. */
export class PushCollector {
  #options: string[] = [];

  /** All options once the last part is there. */
  push(message: string): readonly string[] | undefined {
    const options = message.split(',').slice(1);
    const continuation = options.find((option) => option.startsWith('push-continuation '));
    this.#options.push(...options.filter((option) => option !== continuation && option !== ''));
    if (continuation === 'push-continuation 2') return undefined;
    const all = this.#options;
    this.#options = [];
    return all;
  }
}
