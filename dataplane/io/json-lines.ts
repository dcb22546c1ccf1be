import type { Readable } from 'node:stream';
import { ProtocolError } from '../../net/errors.ts';

/** Calls back with each JSON line of a stream; a line that is too long or not JSON ends the stream with an error. */
export function readJsonLines(stream: Readable, maxLineBytes: number, onValue: (value: unknown) => void): void {
  let chunks: Buffer[] = [];
  let held = 0;
  stream.on('data', (data: Buffer) => {
    try {
      let start = 0;
      for (let newline = data.indexOf(10); newline >= 0; newline = data.indexOf(10, start)) {
        const line = Buffer.concat([...chunks, data.subarray(start, newline)]).toString('utf8');
        chunks = [];
        held = 0;
        start = newline + 1;
        onValue(JSON.parse(line));
      }
      chunks.push(data.subarray(start));
      held += data.length - start;
      if (held > maxLineBytes) throw new ProtocolError('line-too-long', `A line is longer than ${maxLineBytes} bytes`);
    } catch (error) {
      stream.destroy(error instanceof Error ? error : undefined);
    }
  });
}
