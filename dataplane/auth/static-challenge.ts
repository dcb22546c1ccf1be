/** What a client with `static-challenge` sends in the password field. */
export interface StaticChallengeAnswer {
  readonly password: string;
  readonly response: string;
}

/** Whether the password field claims to be an answer to a static challenge, well formed or not. */
export function isStaticChallengeAnswer(text: string): boolean {
  return text.startsWith('SCRV1:');
}

/** Parses `SCRV1:<base64 password>:<base64 response>`, either of which may be empty; undefined when malformed. */
export function parseStaticChallengeAnswer(text: string): StaticChallengeAnswer | undefined {
  const parts = text.split(':', 4);
  if (parts.length !== 3 || parts[0] !== 'SCRV1') return undefined;
  const password = decodedText(parts[1]);
  const response = decodedText(parts[2]);
  return password === undefined || response === undefined ? undefined : { password, response };
}

function decodedText(base64: string): string | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 !== 0) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}
