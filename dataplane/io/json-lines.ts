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
  let chunks: Buffer[] = [];
  let held = 0;
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
        const line = Buffer.concat([...chunks, data.subarray(start, newline)]).toString('utf8');
        chunks = [];
        held = 0;
        start = newline + 1;
        onLine(line);
      }
      chunks.push(data.subarray(start));
      held += data.length - start;
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
