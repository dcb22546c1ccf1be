import type { Readable } from 'node:stream';
import { InternalError, ProtocolError } from '../../net/errors.ts';

/**
 * Calls back with each JSON line of a stream and its length in bytes. `maxLineBytes` may depend on how a line begins: its
 * first 64 bytes, as far as they have come. The stream is destroyed with a ProtocolError at a line that is too long
 * or not JSON, and with an InternalError when `onValue` throws.
 */
export function readJsonLines(
  stream: Readable,
  maxLineBytes: number | ((head: string) => number),
  onValue: (value: unknown, bytes: number) => void,
): void {
  // In one piece: a sender of single bytes would have each of them kept as an object.
  let unfinished = NOTHING;
  let held = 0;
  const hold = (bytes: Buffer): void => {
    if (held + bytes.length > unfinished.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(held + bytes.length, 2 * held));
      unfinished.copy(grown, 0, 0, held);
      unfinished = grown;
    }
    held += bytes.copy(unfinished, held);
  };
  const takeLine = (end: Buffer): Buffer => {
    if (held === 0) return end;
    hold(end);
    const line = unfinished.subarray(0, held);
    unfinished = NOTHING;
    held = 0;
    return line;
  };
  const onLine = (line: Buffer): void => {
    const value = parse(line.toString('utf8'));
    try {
      onValue(value, line.length);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new InternalError(`A message could not be handled: ${reason}`, { cause });
    }
  };
  stream.on('data', (data: Buffer) => {
    try {
      let start = 0;
      for (let newline = data.indexOf(10); newline >= 0; newline = data.indexOf(10, start)) {
        const line = takeLine(data.subarray(start, newline));
        start = newline + 1;
        onLine(line);
      }
      hold(data.subarray(start));
      if (held === 0) return;
      const most =
        typeof maxLineBytes === 'number'
          ? maxLineBytes
          : maxLineBytes(unfinished.toString('latin1', 0, Math.min(held, HEAD_BYTES)));
      if (held > most) throw new ProtocolError('line-too-long', `A line is longer than ${most} bytes`);
    } catch (error) {
      stream.destroy(error as Error);
    }
  });
}

/** The parser's own words would quote the line, which may hold secrets. */
function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new ProtocolError('line-not-json', 'A line is not JSON');
  }
}

const HEAD_BYTES = 64;
const NOTHING = Buffer.alloc(0);
