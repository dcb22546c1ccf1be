/** What a client says about itself. Its word only: never a ground for authorization. */
export interface PeerInfo {
  readonly values: ReadonlyMap<string, string>;
  /** IV_PROTO as a bit field; 0 when missing or garbage. */
  readonly protocolBits: number;
  readonly ncpVersion: number;
  /** IV_CIPHERS, upper case; null without the key. */
  readonly ciphers: readonly string[] | null;
  /** IV_MTU; null when missing or garbage. */
  readonly mtuBytes: number | null;
  /** IV_SSO methods. */
  readonly ssoMethods: readonly string[];
}

// Lower case too: IV_COMP_STUBv2, IV_LZ4v2.
const KEY = /^(?:IV_|UV_|ID)[A-Za-z0-9_]*$/;
const MAX_KEY_CHARACTERS = 32;
const MAX_VALUE_CHARACTERS = 512;
const MAX_ENTRIES = 128;
const UNPRINTABLE = /\p{Cc}/u;

/** Reads `KEY=value` lines; unknown shapes, repeats and whatever is too long are skipped. */
export function parsePeerInfo(text: string): PeerInfo {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals < 0 || values.size >= MAX_ENTRIES) continue;
    const key = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (key.length > MAX_KEY_CHARACTERS || !KEY.test(key) || values.has(key)) continue;
    if (value.length > MAX_VALUE_CHARACTERS || UNPRINTABLE.test(value)) continue;
    values.set(key, value);
  }
  return {
    values,
    protocolBits: decimal(values.get('IV_PROTO')) ?? 0,
    ncpVersion: decimal(values.get('IV_NCP')) ?? 0,
    ciphers: values.get('IV_CIPHERS')?.toUpperCase().split(':') ?? null,
    mtuBytes: decimal(values.get('IV_MTU')) ?? null,
    ssoMethods: values.get('IV_SSO')?.split(',') ?? [],
  };
}

function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined;
}
