import type { Readable } from 'node:stream';
import { InternalError, ProtocolError } from '../../net/errors.ts';

/**
 * Calls back with each JSON line of a stream. The stream is destroyed with a ProtocolError at a line that is too long
 * or not JSON, and with an InternalError when `onValue` throws.
 */
export function readJsonLines(
  stream: Readable,
  maxLineBytes: number | (() => number),
  onValue: (value: unknown) => void,
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
  const takeLine = (end: Buffer): string => {
    if (held === 0) return end.toString('utf8');
    hold(end);
    const line = unfinished.toString('utf8', 0, held);
    unfinished = NOTHING;
    held = 0;
    return line;
  };
  const onLine = (line: string): void => {
    const value = parse(line);
    try {
      onValue(value);
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
      const most = typeof maxLineBytes === 'number' ? maxLineBytes : maxLineBytes();
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

const NOTHING = Buffer.alloc(0);
